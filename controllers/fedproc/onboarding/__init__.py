"""The host check: can this machine join the federation, why not, and what to do (``docs/host-check.md``).

Imports nothing else of fedproc and no binary package, so that it runs as a zipapp before anything is installed.
``main`` is the command line; :mod:`fedproc.onboarding.watch` serves the orchestrator, and
:mod:`fedproc.onboarding.report.survey` whoever keeps the reports of all hosts.
"""

from __future__ import annotations

from collections.abc import Sequence


def main(argv: Sequence[str] | None = None, *, program: str = "fedproc-check") -> int:
    """The command line with these arguments (``None``: the process's own); returns the exit code (:mod:`.cli`).

    ``program`` is what it is called by, for help and errors.
    """
    # Here and not above: the watch mode's child process must not pay for a command line that it does not use.
    from fedproc.onboarding import cli

    return cli.main(argv, program=program)


__all__ = ["main"]

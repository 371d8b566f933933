"""The host check: can this machine join the federation, why not, and what to do (``docs/host-check.md``).

Imports nothing else of fedproc and no binary package, so that it runs as a zipapp before anything is installed.
``main`` is the command line; :mod:`fedproc.onboarding.watch` serves the orchestrator, and
:mod:`fedproc.onboarding.report.survey` whoever keeps the reports of all hosts.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def main(argv: Sequence[str] | None = None, *, program: str = "fedproc-check", installed: Path | None = None) -> int:
    """The command line with these arguments (``None``: the process's own); returns the exit code (:mod:`.cli`).

    ``program`` is what it is called by, for help and errors; ``installed`` the settings that are taken if it is there.
    """
    # Here and not above: the watch mode's child process must not pay for a command line that it does not use.
    from fedproc.onboarding import cli

    return cli.main(argv, program=program, installed=installed)


__all__ = ["main"]

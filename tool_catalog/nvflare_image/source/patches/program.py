"""The two tasks of such a training as a program: its command line, what it says, and with which code it ends.

Exit codes: 0 done; 1 the output cannot be written; 2 the input cannot be used; 3 the training failed because a host, a
reply or the connection was lost. The last lines of standard error say why.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from .faults import Fault

Run = Callable[[argparse.Namespace], None]
Faults = tuple[type[Exception], ...]
"""with an ``exit_code`` each"""


def main(
    tool: str,
    description: str | None,
    client: Run,
    server: Run,
    *,
    faults: Faults = (),
    arguments: list[str] | None = None,
) -> int:
    """Run one task; returns the exit code. ``faults`` are other exceptions that carry one, beside :class:`Fault`."""
    options = _parser(description, client, server).parse_args(arguments)
    try:
        options.run(options)
    except (Fault, *faults) as fault:
        print(f"{tool} {options.task}: {fault}", file=sys.stderr)
        return int(fault.exit_code)  # type: ignore[attr-defined]
    except OSError as fault:
        print(f"{tool} {options.task}: {fault.filename or 'output'}: {fault.strerror}", file=sys.stderr)
        return 1
    return 0


def _parser(description: str | None, client: Run, server: Run) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description)
    tasks = parser.add_subparsers(dest="task", required=True)
    site = tasks.add_parser("client", help="at a site: train on one dataset")
    site.add_argument("--datasets", type=Path, required=True, help="folder with one dataset's folder")
    site.add_argument("--host", required=True)
    site.add_argument("--server", required=True, help="host:port at which the server is found")
    centre = tasks.add_parser("server", help="at the aggregator: drive the training")
    centre.add_argument("--port", type=int, required=True)
    centre.add_argument("--hosts", type=Path, required=True, help="JSON file: hosts by task")
    centre.add_argument("--min-hosts", type=int, help="how many must reply in every round; all unless given")
    centre.add_argument("--output", type=Path, required=True)
    centre.add_argument("--metrics", type=Path, required=True, help="file to which each round's measures are appended")
    for task, run in ((site, client), (centre, server)):
        task.add_argument("--parameters", type=Path, required=True)
        task.set_defaults(run=run)
    return parser

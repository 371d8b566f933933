"""The command line of a tool with a server and clients."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from regression.program import run_task

Run = Callable[[argparse.Namespace], None]


def main(tool: str, description: str | None, client: Run, server: Run, arguments: list[str] | None = None) -> int:
    """Run one task; returns the exit code (regression.program)."""
    parser = argparse.ArgumentParser(description=description)
    tasks = parser.add_subparsers(dest="task", required=True)
    site = tasks.add_parser("client", help="at a site: answer with sums over one dataset")
    site.add_argument("--datasets", type=Path, required=True, help="folder with one dataset's folder")
    site.add_argument("--host", required=True)
    site.add_argument("--server", required=True, help="host:port at which the server is found")
    centre = tasks.add_parser("server", help="at the aggregator: estimate from the sites' sums")
    centre.add_argument("--port", type=int, required=True)
    centre.add_argument("--hosts", type=Path, required=True, help="JSON file: hosts by task")
    centre.add_argument("--output", type=Path, required=True)
    centre.add_argument("--metrics", type=Path, required=True, help="file to which each round's progress is appended")
    for task, run in ((site, client), (centre, server)):
        task.add_argument("--parameters", type=Path, required=True)
        task.set_defaults(run=run)
    options = parser.parse_args(arguments)
    return run_task(tool, options, options.run)

"""Survival curves over hosts that keep their rows: the two tasks of this tool (exit codes: regression.program)."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from regression.program import run_task
from request import read_request


def main(arguments: list[str] | None = None) -> int:
    """Run one task; returns the exit code."""
    options = _parser().parse_args(arguments)
    return run_task("kaplan-meier", options, options.run)


def _local(options: argparse.Namespace) -> None:
    import local

    local.run(options.datasets, read_request(options.parameters), options.host, options.output)


def _combine(options: argparse.Namespace) -> None:
    import combine

    combine.run(options.sites, options.hosts, read_request(options.parameters), options.output)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    tasks = parser.add_subparsers(dest="task", required=True)
    site = tasks.add_parser("local", help="at a site: events of one dataset on the time grid")
    site.add_argument("--datasets", type=Path, required=True, help="folder with one dataset's folder")
    site.add_argument("--host", required=True)
    pooled = tasks.add_parser("combine", help="at the aggregator: the curves from the sites' events")
    pooled.add_argument("--sites", type=Path, required=True, help="folder with one folder per host")
    pooled.add_argument("--hosts", type=Path, required=True, help="JSON file: hosts by task")
    for task, run in ((site, _local), (pooled, _combine)):
        task.set_defaults(run=run)
        task.add_argument("--parameters", type=Path, required=True)
        task.add_argument("--output", type=Path, required=True)
    return parser


if __name__ == "__main__":
    sys.exit(main())

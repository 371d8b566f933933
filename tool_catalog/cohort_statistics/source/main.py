"""Federated summary statistics and one survival curve: the two tasks of this tool.

Exit codes: 0 done; 1 the output cannot be written; 2 the input cannot be used. The last lines of standard error
say why.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from faults import Fault
from request import Request, read_request
from tables.problems import TableError


def main(arguments: list[str] | None = None) -> int:
    """Run one task; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        request = read_request(options.parameters)
        options.run(options, request)
    except Fault as fault:
        print(f"cohort-statistics {options.task}: {fault}", file=sys.stderr)
        return 2
    except TableError as fault:
        for line in fault.lines():
            print(f"cohort-statistics {options.task}: {options.host}: {line}", file=sys.stderr)
        return 2
    except OSError as fault:
        print(f"cohort-statistics {options.task}: {fault.filename or 'output'}: {fault.strerror}", file=sys.stderr)
        return 1
    return 0


def _local(options: argparse.Namespace, request: Request) -> None:
    import local  # pandas alone, not what draws

    local.run(options.datasets, request, options.host, options.output)


def _combine(options: argparse.Namespace, request: Request) -> None:
    import combine

    combine.run(options.sites, options.hosts, request, options.output)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    tasks = parser.add_subparsers(dest="task", required=True)
    site = tasks.add_parser("local", help="at a site: summarise one dataset")
    site.add_argument("--datasets", type=Path, required=True, help="folder with one dataset's folder")
    site.add_argument("--host", required=True)
    pooled = tasks.add_parser("combine", help="at the aggregator: put the sites' answers together")
    pooled.add_argument("--sites", type=Path, required=True, help="folder with one folder per host")
    pooled.add_argument("--hosts", type=Path, required=True, help="JSON file: hosts by task")
    for task, run in ((site, _local), (pooled, _combine)):
        task.set_defaults(run=run)
        task.add_argument("--parameters", type=Path, required=True)
        task.add_argument("--output", type=Path, required=True)
    return parser


if __name__ == "__main__":
    sys.exit(main())

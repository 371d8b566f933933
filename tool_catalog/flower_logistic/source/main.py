"""Logistic regression trained with Flower over hosts that keep their rows: the two tasks of this tool.

Exit codes: 0 done; 1 the output cannot be written; 2 the input cannot be used; 3 the training failed because a
host, a reply or the connection was lost. The last lines of standard error say why.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from averaging.faults import Fault
from request import Request, expected_hosts, read_request
from tables.problems import TableError

if TYPE_CHECKING:
    from averaging.learning import Learner as AnyLearner
    from data import SiteData


PROTECTS = "one row of one site's table, replaced by any other"


def main(arguments: list[str] | None = None) -> int:
    """Run one task; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except Fault as fault:
        print(f"flower-logistic {options.task}: {fault}", file=sys.stderr)
        return fault.exit_code
    except TableError as fault:
        for line in fault.lines():
            print(f"flower-logistic {options.task}: {options.host}: {line}", file=sys.stderr)
        return 2
    except OSError as fault:
        print(f"flower-logistic {options.task}: {fault.filename or 'output'}: {fault.strerror}", file=sys.stderr)
        return 1
    return 0


def _client(options: argparse.Namespace) -> None:
    from data import read_site
    from learner import LEARNING

    request = read_request(options.parameters)
    data = read_site(options.datasets, request)
    learner = _learner(data, request)

    from private_averaging.program import run_client  # after the data was checked: Flower takes a second or two to load

    run_client(options, request, learner, LEARNING.averaged)


def _learner(data: SiteData, request: Request) -> AnyLearner:
    from learner import Learner

    if request.epsilon is None and not request.secure_aggregation:
        return Learner(data, request)
    from private_averaging.bounds import BoundedLearner, ends

    low, high = ends(data.names, request.bounds, (name for name in data.names if "=" in name))
    if request.epsilon is None:
        return BoundedLearner(Learner(data, request), low, high)
    from private_learner import PrivateLearner

    return BoundedLearner(PrivateLearner(data, request, low, high), low, high)


def _server(options: argparse.Namespace) -> None:
    request = read_request(options.parameters)
    hosts = expected_hosts(options.hosts, "client")

    from learner import LEARNING, named
    from private_averaging.program import run_server

    run_server(options, hosts, request, LEARNING, named=named, protects=PROTECTS)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
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
    for task, run in ((site, _client), (centre, _server)):
        task.add_argument("--parameters", type=Path, required=True)
        task.set_defaults(run=run)
    return parser


if __name__ == "__main__":
    sys.exit(main())

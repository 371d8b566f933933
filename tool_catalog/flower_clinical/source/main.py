"""Linear regression trained with Flower over hosts that keep their rows: the two tasks of this tool.

Exit codes: 0 done; 1 the output cannot be written; 2 the input cannot be used; 3 the training failed because a
host, a reply or the connection was lost. The last lines of standard error say why.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from averaging.faults import Fault
from regression.jsonfile import expected_hosts
from regression.program import run_task
from request import read_request

if TYPE_CHECKING:
    from averaging.learning import Learner as AnyLearner
    from request import Request

TOOL = "flower-clinical"
PROTECTS = (
    "all rows of one person at one site, replaced by any others; each row is one where no column of persons is named"
)


def main(arguments: list[str] | None = None) -> int:
    """Run one task; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        return run_task(TOOL, options, options.run)
    except Fault as fault:
        print(f"{TOOL} {options.task}: {fault}", file=sys.stderr)
        return fault.exit_code


def _client(options: argparse.Namespace) -> None:
    from learner import LEARNING

    request = read_request(options.parameters)
    learner = _learner(options.datasets, request)

    from private_averaging.program import run_client  # after the data was checked: Flower takes a second or two to load

    run_client(options, request, learner, LEARNING.averaged)


def _learner(datasets: Path, request: Request) -> AnyLearner:
    """With differential privacy no group of rows is refused for its size, which would tell of them without noise."""
    from clinical.site import read_site
    from learner import Learner, is_of_categories
    from regression.persons import check_rows

    least = request.min_cell if request.epsilon is None else 0
    site = read_site(datasets, request.formula, table=request.table, missing=request.missing, min_cell=least)
    if request.epsilon is None and not request.secure_aggregation:
        return Learner(site, request)
    from private_averaging.bounds import BoundedLearner, ends

    low, high = ends(site.names, request.bounds, filter(is_of_categories, site.names))
    if request.epsilon is None:
        return BoundedLearner(Learner(site, request), low, high)
    from persons import whose_rows
    from private_learner import PrivateLearner

    learner = PrivateLearner(site, request, whose_rows(datasets, request.table), low, high)
    check_rows(learner.rows, request.min_cell)
    return BoundedLearner(learner, low, high)


def _server(options: argparse.Namespace) -> None:
    request = read_request(options.parameters)
    hosts = expected_hosts(options.hosts, "client")

    from learner import LEARNING, named, told
    from private_averaging.program import run_server
    from secure_losses import secure

    run_server(options, hosts, request, LEARNING, named=named, told=told, protects=PROTECTS, secure=secure)


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

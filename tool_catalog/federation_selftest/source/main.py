"""A small training without data that shows how a federation ends when a host fails: the two tasks of this tool.

Exit codes: 0 done; 1 the output cannot be written; 2 the parameters cannot be met; 3 the training failed because a
host, a reply or the connection was lost; 7 this host was asked to exit. The last lines of standard error say why.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from averaging.faults import Fault
from request import expected_hosts, read_request

TOOL = "federation-selftest"


def main(arguments: list[str] | None = None) -> int:
    """Run one task; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except Fault as fault:
        print(f"{TOOL} {options.task}: {fault}", file=sys.stderr)
        return fault.exit_code
    except OSError as fault:
        print(f"{TOOL} {options.task}: {fault.filename or 'output'}: {fault.strerror}", file=sys.stderr)
        return 1
    return 0


def _client(options: argparse.Namespace) -> None:
    request = read_request(options.parameters)

    from averaging import client
    from learner import Learner

    client.run(options.server, client.Site(options.host, Learner(options.host, request), request.rounds))


def _server(options: argparse.Namespace) -> None:
    request = read_request(options.parameters)
    hosts = expected_hosts(options.hosts, request)

    from averaging import server
    from learner import LEARNING, named

    limits = server.Limits(
        request.rounds, request.join_seconds, request.round_seconds, server.least_of(options.min_hosts, hosts)
    )
    server.run(options.port, hosts, limits, LEARNING, options.output, options.metrics, named=named)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    tasks = parser.add_subparsers(dest="task", required=True)
    site = tasks.add_parser("client", help="at a host: take part, or fail as asked")
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

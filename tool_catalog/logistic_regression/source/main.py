"""Logistic regression over hosts that keep their rows: the two tasks of this tool (exit codes: regression.program)."""

from __future__ import annotations

import argparse
import sys

from regression.jsonfile import check_known, expected_hosts, read_object
from rounds.command import main
from rounds.request import KNOWN, Request, common


def _client(options: argparse.Namespace) -> None:
    import client

    client.run(options.server, options.datasets, options.host, _request(options))


def _server(options: argparse.Namespace) -> None:
    import server

    hosts = expected_hosts(options.hosts, "client")
    server.run(options.port, hosts, _request(options), options.output, options.metrics)


def _request(options: argparse.Namespace) -> Request:
    given = read_object(options.parameters, "parameters")
    check_known(given, KNOWN)
    return Request(**common(given, outcome=True))


if __name__ == "__main__":
    sys.exit(main("logistic-regression", __doc__, _client, _server))

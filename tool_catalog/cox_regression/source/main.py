"""Cox regression over hosts that keep their rows: the two tasks of this tool (exit codes: regression.program)."""

from __future__ import annotations

import argparse
import sys

from regression.faults import Fault
from regression.jsonfile import check_known, expected_hosts, read_object, text
from request import Survival
from rounds.command import main
from rounds.request import KNOWN, common


def _client(options: argparse.Namespace) -> None:
    import client

    client.run(options.server, options.datasets, options.host, _request(options))


def _server(options: argparse.Namespace) -> None:
    import server

    hosts = expected_hosts(options.hosts, "client")
    server.run(options.port, hosts, _request(options), options.output, options.metrics)


def _request(options: argparse.Namespace) -> Survival:
    given = read_object(options.parameters, "parameters")
    check_known(given, (*KNOWN, "time_column", "event_column"))
    columns = {name: text(given, name, usual) for name, usual in (("time_column", "time"), ("event_column", "event"))}
    request = Survival(**common(given, outcome=False), **columns)
    if not request.formula.intercept:
        raise Fault("parameters: formula: there is no intercept to leave out in a Cox regression")
    return request


if __name__ == "__main__":
    sys.exit(main("cox-regression", __doc__, _client, _server))

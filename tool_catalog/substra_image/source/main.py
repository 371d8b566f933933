"""The demonstrator's network by Substra's SDK on this infrastructure, which is no Substra network: the two tasks.

The server makes and executes SubstraFL's compute plan; what a plan's task does with images, it does at its host. Exit
codes: 0 done; 1 the output cannot be written; 2 the input cannot be used; 3 the training failed because a host, an
answer or the connection was lost. The last lines of standard error say why.
"""

from __future__ import annotations

import argparse
import sys

from patches.images import read_site
from patches.program import main
from patches.settings import expected_hosts
from regression.faults import Fault
from request import read_request


def _client(options: argparse.Namespace) -> None:
    request = read_request(options.parameters)
    site = read_site(options.datasets, request.size, request.every, request.min_persons)

    import worker  # after the data was checked: SubstraFL takes a second or two to load

    worker.run(options.server, options.host, site, request)


def _server(options: argparse.Namespace) -> None:
    request = read_request(options.parameters)
    hosts = expected_hosts(options.hosts, "client")

    import driver

    driver.run(options.port, hosts, request, options.output, options.metrics)


if __name__ == "__main__":
    sys.exit(main("substra-image", __doc__, _client, _server, faults=(Fault,)))

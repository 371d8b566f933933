"""The demonstrator's network trained with NVFLARE over hosts that keep their images: the two tasks of this tool.

Exit codes: 0 done; 1 the output cannot be written; 2 the input cannot be used; 3 the training failed because a
host, a reply or the connection was lost. The last lines of standard error say why.
"""

from __future__ import annotations

import argparse
import sys

from patches.images import read_site
from patches.program import main
from patches.settings import expected_hosts
from request import read_request


def _client(options: argparse.Namespace) -> None:
    request = read_request(options.parameters)
    site = read_site(options.datasets, request.size, request.every, request.min_persons)

    import worker  # after the data was checked: NVFLARE takes a second or two to load

    worker.run(options.server, options.host, options.datasets, site, request)


def _server(options: argparse.Namespace) -> None:
    request = read_request(options.parameters)
    hosts = expected_hosts(options.hosts, "client")

    import driver

    driver.run(options.port, hosts, request, options.output, options.metrics)


if __name__ == "__main__":
    sys.exit(main("nvflare-image", __doc__, _client, _server))

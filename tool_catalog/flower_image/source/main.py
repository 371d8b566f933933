"""An image classifier trained with Flower over hosts that keep their images: the two tasks of this tool.

Exit codes: 0 done; 1 the output cannot be written; 2 the input cannot be used; 3 the training failed because a
host, a reply or the connection was lost. The last lines of standard error say why.
"""

from __future__ import annotations

import argparse
import sys

from averaging.faults import Fault
from patches.images import read_site
from patches.program import main
from patches.settings import expected_hosts
from request import read_request


def _client(options: argparse.Namespace) -> None:
    request = read_request(options.parameters)
    site = read_site(options.datasets, request.size, request.every, request.min_persons)

    from averaging import client  # after the data was checked: Flower takes a second or two to load
    from learner import Learner

    learner = Learner(site, request)
    if request.secure_aggregation:
        from learner import AVERAGED
        from secure_averaging.client import SecureSite

        client.run(options.server, SecureSite(options.host, learner, request.rounds, AVERAGED))
        return
    client.run(options.server, client.Site(options.host, learner, request.rounds))


def _server(options: argparse.Namespace) -> None:
    request = read_request(options.parameters)
    hosts = expected_hosts(options.hosts, "client")

    from averaging import server
    from learner import learning, named

    limits = server.Limits(
        request.rounds, request.join_seconds, request.round_seconds, server.least_of(options.min_hosts, hosts)
    )
    kind = server.PLAIN
    if request.secure_aggregation:
        from secure_averaging.server import secure

        kind = secure()
    server.run(options.port, hosts, limits, learning(request), options.output, options.metrics, named=named, kind=kind)


if __name__ == "__main__":
    sys.exit(main("flower-image", __doc__, _client, _server, faults=(Fault,)))

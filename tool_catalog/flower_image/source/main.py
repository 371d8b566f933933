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

PROTECTS = "all images of one person at one site, replaced by any others with a lesion"


def _client(options: argparse.Namespace) -> None:
    request = read_request(options.parameters)
    site = read_site(options.datasets, request.size, request.every, request.min_persons)

    from learner import AVERAGED, Learner
    from private_averaging.program import run_client  # after the data was checked: Flower takes a second or two to load

    kind = Learner
    if request.epsilon is not None:
        from private_learner import PrivateLearner

        kind = PrivateLearner
    run_client(options, request, kind(site, request), AVERAGED)


def _server(options: argparse.Namespace) -> None:
    request = read_request(options.parameters)
    hosts = expected_hosts(options.hosts, "client")

    from learner import learning, named
    from private_averaging.program import run_server

    run_server(options, hosts, request, learning(request), named=named, protects=PROTECTS)


if __name__ == "__main__":
    sys.exit(main("flower-image", __doc__, _client, _server, faults=(Fault,)))

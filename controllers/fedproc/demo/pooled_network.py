"""``flower-image``'s training on all images in one place: ``… SOURCE PARAMETERS FOLDER…``.

A process of its own, since the tool's modules have names of their own. SOURCE is the tool's source, PARAMETERS a JSON
object. Prints loss and held-out accuracy as a JSON object.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main(source: str, parameters: str, *folders: str) -> None:
    """Train as one site that has the images of all; persons that a site holds out are held out here."""
    sys.path.insert(0, source)
    import network
    from learner import Learner
    from patches.images import read_site
    from patches.measures import together
    from request import Request

    request = Request(**json.loads(parameters))
    sites = [read_site(Path(folder), request.size, request.every, request.min_persons) for folder in folders]
    learner = Learner(together(sites), request)
    arrays = network.start(request.size, request.seed)
    for number in range(1, request.rounds + 1):
        arrays = learner.train(arrays, number)
    found = learner.measure(arrays)
    sys.stdout.write(json.dumps({"loss": found.loss, "test_loss": found.test_loss, "accuracy": found.accuracy}) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])

"""``flower-image``'s training on all images in one place: ``… SOURCE PARAMETERS FOLDER…``.

A process of its own, since the tool's modules have names of their own. SOURCE is the tool's source, PARAMETERS a JSON
object; with a ``model`` (npz) in it, that is measured and nothing trained. Prints loss and held-out accuracy as a JSON
object.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def main(source: str, parameters: str, *folders: str) -> None:
    """Train as one site that has the images of all; persons that a site holds out are held out here."""
    sys.path.insert(0, source)
    import network
    from learner import Learner
    from patches.images import read_site
    from patches.measures import together
    from request import Request

    given = json.loads(parameters)
    model = given.pop("model", None)
    request = Request(**given)
    sites = [read_site(Path(folder), request.size, request.every, request.min_persons) for folder in folders]
    learner = Learner(together(sites), request)
    arrays = _read(model, network.NAMES) if model else network.start(request.size, request.seed)
    for number in range(1, 0 if model else request.rounds + 1):
        arrays = learner.train(arrays, number)
    found = learner.measure(arrays)
    sys.stdout.write(json.dumps({"loss": found.loss, "test_loss": found.test_loss, "accuracy": found.accuracy}) + "\n")


def _read(model: str, names: Sequence[str]) -> list[Any]:
    import numpy as np

    with np.load(model, allow_pickle=False) as arrays:
        return [arrays[name] for name in names]


if __name__ == "__main__":
    main(*sys.argv[1:])

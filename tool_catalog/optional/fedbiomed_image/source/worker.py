"""The task ``client``: a node of Fed-BioMed that trains on this site's patches, and measures each model it is sent."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import measuring
import numpy as np
from biomed import node
from biomed.guard import Agreed
from patches.images import SiteImages
from plan import ImagePlan
from request import Request

TAGS = ("fedbiomed-image",)


def run(server: str, host: str, site: SiteImages, request: Request, metrics: Path) -> None:
    """Train as often as was agreed; loss and held-out accuracy of each round's model go to ``metrics``.

    Raises Fault or Broken as :func:`biomed.node.run`.
    """
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder, metrics.open("a", encoding="utf-8") as stream:
        data = Path(folder) / "data"
        data.mkdir()
        np.save(data / "images.npy", site.train.images)
        np.save(data / "labels.npy", site.train.labels)
        config = node.prepare(Path(folder) / "node", server, host)

        def measure(number: int, params: Mapping[str, Any]) -> None:
            stream.write(json.dumps({"round": number, **measuring.of(params, site)}) + "\n")
            stream.flush()
            node.tell(host, number, len(site.train.labels))

        told = {"n": len(site.train.labels), "size": request.size}
        offer = node.Offer(data, f"{host}\n{json.dumps(told)}", TAGS)
        node.run(config, offer, _agreed(request), request.patience, measure)
    print(f"{host}: the researcher has every round", flush=True)


def _agreed(request: Request) -> Agreed:
    from fedbiomed.common.training_args import TrainingArgs

    arguments = TrainingArgs(request.training_args(), only_required=False).dict()
    return Agreed(
        tags=TAGS,
        plan=node.plan_source(ImagePlan),
        plan_class=ImagePlan.__name__,
        model_args=request.model_args(),
        training_args=node.as_sent(arguments),
        rounds=request.rounds,
        shapes=measuring.shapes(request.size),
    )

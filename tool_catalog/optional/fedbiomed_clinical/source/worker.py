"""The task ``client``: a node of Fed-BioMed that trains on this site's rows, and measures each model it is sent."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from biomed import node
from biomed.guard import Agreed
from clinical.site import Site
from plan import SitePlan
from request import Request

TAGS = ("fedbiomed-clinical",)
ROWS = "rows.npy"


def run(server: str, host: str, site: Site, request: Request, metrics: Path) -> None:
    """Train as often as was agreed; the mean squared error of each round's model goes to ``metrics``.

    Raises Fault or Broken as :func:`biomed.node.run`.
    """
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder, metrics.open("a", encoding="utf-8") as stream:
        rows = _prepared(site, request)
        data = Path(folder) / "data"
        data.mkdir()
        np.save(data / ROWS, rows)
        config = node.prepare(Path(folder) / "node", server, host)

        def measure(number: int, params: Mapping[str, Any]) -> None:
            error = rows[:, :-1] @ params["coef_"] + params["intercept_"] - rows[:, -1]
            stream.write(json.dumps({"round": number, "loss": float(np.mean(error**2))}) + "\n")
            stream.flush()
            node.tell(host, number, len(rows))

        offer = node.Offer(data, f"{host}\n{json.dumps(introduction(site, request))}", TAGS)
        node.run(config, offer, _agreed(site, request), request.patience, measure)
    print(f"{host}: the researcher has every round", flush=True)


def introduction(site: Site, request: Request) -> dict[str, Any]:
    """What the researcher is told of the dataset."""
    return {"names": list(site.names), "n": len(site.rows), "formula": request.formula.given}


def _prepared(site: Site, request: Request) -> np.ndarray:
    mean, deviation = request.standards_of(site.names[:-1])
    columns = (site.rows[:, :-1] - mean) / deviation
    return np.column_stack([columns, site.rows[:, -1]])


def _agreed(site: Site, request: Request) -> Agreed:
    from fedbiomed.common.training_args import TrainingArgs

    terms = len(site.names) - 1
    arguments = TrainingArgs(request.training_args(), only_required=False).dict()
    return Agreed(
        tags=TAGS,
        plan=node.plan_source(SitePlan),
        plan_class=SitePlan.__name__,
        model_args=request.model_args(terms),
        training_args=node.as_sent(arguments),
        rounds=request.rounds,
        shapes={"coef_": (terms,), "intercept_": (1,)},
    )

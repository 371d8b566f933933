"""The task ``client``: does the compute plan's tasks that need this site's images, with substratools."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import algo
import opener
import states
from patches.images import SiteImages
from request import Request
from substra_plan import worker
from substrafl.strategies import FedAvg


def run(address: str, host: str, site: SiteImages, request: Request) -> None:
    """Do tasks until the server at ``address`` says that the plan is done; raises Broken (substra_plan.worker)."""
    part = worker.Part(
        strategy=strategy(request),
        rounds=request.rounds,
        rows=len(site.train.labels),
        opener=Path(opener.__file__),
        sample=lambda folder: opener.write(site, folder),
        average=states.Shapes(request.size).averaged,
        update=lambda state: states.told(state.parameters_update),
        metrics=tuple(algo.METRICS),
    )
    worker.run(address, host, introduction(site, request), part, request.patience)


def strategy(request: Request) -> FedAvg:
    """The same at the server."""
    training = algo.NetworkTraining(
        size=request.size, seed=request.seed, updates=request.updates, batch=request.batch, rate=request.learning_rate
    )
    return FedAvg(algo=training, metric_functions=algo.METRICS)


def introduction(site: SiteImages, request: Request) -> dict[str, Any]:
    rows = {"train_rows": len(site.train.labels), "test_rows": len(site.test.labels)}
    return {"schema_version": 1, "request": request.as_json(), **rows}

"""The task ``client``: does the compute plan's tasks that need this site's data, with substratools."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import states
from algo import SiteRegression
from clinical.site import Site
from opener import ROWS
from request import Request
from substra_plan import worker
from substrafl.strategies import FedAvg


def run(address: str, host: str, site: Site, request: Request) -> None:
    """Do tasks until the server at ``address`` says that the plan is done; raises Broken (substra_plan.worker)."""
    terms = len(site.names) - 1
    part = worker.Part(
        strategy=FedAvg(algo=SiteRegression(terms=terms)),
        rounds=request.rounds,
        rows=len(site.rows),
        opener=Path(__file__).with_name("opener.py"),
        sample=lambda folder: np.save(folder / ROWS, site.rows),
        average=lambda answer: states.averaged(answer, terms),
        update=lambda state: states.told(state.parameters_update),
    )
    worker.run(address, host, introduction(site, request), part, request.patience)


def introduction(site: Site, request: Request) -> dict[str, Any]:
    return {"schema_version": 1, "request": request.as_json(), "names": list(site.names), "n": len(site.rows)}

"""Experiments: the list, and one with all that happens in it."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Request
from starlette.responses import RedirectResponse, Response

from fedproc.central.api.pages import timeline
from fedproc.central.api.pages.access import Api, Form, SignedIn, pages
from fedproc.central.api.pages.backend import ApiError, Backend
from fedproc.central.api.pages.paging import Paging
from fedproc.central.api.pages.rendering import page, segment
from fedproc.contract.api.experiments import ExperimentView, Logs, Page
from fedproc.contract.api.files import FileView
from fedproc.contract.api.tools import TaskView
from fedproc.contract.states import ENDED, ExperimentState

routes = pages()

_PART = 50
_LOG_LINES = 1000
_RESULTS = 200
_PICTURES = frozenset({"image/svg+xml", "image/png", "image/jpeg", "image/webp", "image/gif"})


@routes.get("/dashboard/experiments")
async def show_experiments(
    request: Request,
    api: Api,
    session: SignedIn,
    text: Annotated[str, Query(max_length=200)] = "",
    state: Annotated[str, Query(pattern="^[a-z]{0,20}$")] = "",
    sort: Annotated[str, Query(pattern="^-?(created|ended|tool|state|label)$")] = "-created",
    whose: Annotated[str, Query(pattern="^(mine|all)$")] = "mine",
    part: Annotated[int, Query(alias="page", ge=1, le=100_000)] = 1,
) -> Response:
    """What fits the filters, sorted and counted by the database."""
    filters = {"text": text, "state": state, "sort": sort, "whose": whose if session.operates else ""}
    wanted = [*sorted(ENDED)] if state == "ended" else [state] if state else []
    found = await api.one(
        Page, "/experiments", text=text, state=wanted, sort=sort, mine=whose == "mine", count=True,
        offset=(part - 1) * _PART or None, limit=_PART,
    )  # fmt: skip
    paging = Paging(part, _PART, found.total or 0, "/dashboard/experiments", filters)
    states = [one.value for one in ExperimentState]
    return page(request, "experiments.html", {"found": found.items, "paging": paging, "states": states, **filters})


@routes.get("/dashboard/experiments/{experiment}")
async def show_experiment(request: Request, experiment: str, api: Api, session: SignedIn) -> Response:
    """One experiment; what changes in it comes by :mod:`fedproc.central.api.pages.live`."""
    found = await api.one(ExperimentView, f"/experiments/{segment(experiment)}")
    return page(request, "experiment.html", await facts(api, found, session.subject))


async def facts(api: Backend, experiment: ExperimentView, reader: str) -> dict[str, object]:
    """What an experiment's page shows."""
    results = await api.many(FileView, f"/experiments/{experiment.id}/results", limit=_RESULTS)
    return {
        "experiment": experiment,
        "picture": timeline.of(experiment),
        "results": results,
        "pictures": [file for file in results if file.media_type in _PICTURES and file.state == "complete"],
        "metrics": await declared_metrics(api, experiment),
        "own": experiment.owner == reader,
        "ended": experiment.ended is not None,
    }


async def declared_metrics(api: Backend, experiment: ExperimentView) -> dict[str, list[dict[str, str]]]:
    """By task, the numbers that it shows while it runs, as its tool declares them."""
    try:
        tasks = await api.many(TaskView, "/tools/tasks", tool=experiment.tool, version=experiment.version)
    except ApiError:
        return {}  # the version has been taken out of the catalogue
    return {task.name: task.metrics for task in tasks if task.metrics}


@routes.post("/dashboard/experiments/{experiment}/cancel")
async def cancel(experiment: str, api: Api, form: Form) -> Response:
    """Ask for its end."""
    await api.send("POST", f"/experiments/{segment(experiment)}/cancel")
    return RedirectResponse(f"/dashboard/experiments/{segment(experiment)}", 303)


@routes.get("/dashboard/experiments/{experiment}/delete")
async def ask_before_deleting(request: Request, experiment: str, api: Api) -> Response:
    """What would be gone, before it is."""
    found = await api.one(ExperimentView, f"/experiments/{segment(experiment)}")
    results = await api.many(FileView, f"/experiments/{found.id}/results")
    size = sum(file.size or 0 for file in results)
    return page(request, "delete.html", {"experiment": found, "results": results, "size": size})


@routes.post("/dashboard/experiments/{experiment}/delete")
async def delete(experiment: str, api: Api, form: Form) -> Response:
    """Delete it with all that belongs to it."""
    await api.send("DELETE", f"/experiments/{segment(experiment)}")
    return RedirectResponse("/dashboard/experiments", 303)


@routes.get("/dashboard/experiments/{experiment}/log")
async def show_log(
    request: Request,
    experiment: str,
    api: Api,
    host: Annotated[str, Query(max_length=31)] = "",
    cursor: Annotated[int, Query(ge=0, le=2**62)] = 0,
) -> Response:
    """What its jobs wrote, as far as their hosts let it out."""
    path = f"/experiments/{segment(experiment)}"
    found = await api.one(ExperimentView, path)
    logs = await api.one(Logs, f"{path}/logs", host=host, cursor=cursor or None, limit=_LOG_LINES)
    return page(request, "log.html", {"experiment": found, "logs": logs, "host": host})

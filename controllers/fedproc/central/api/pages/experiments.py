"""Experiments: the list, and one with all that happens in it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Query, Request
from starlette.datastructures import UploadFile
from starlette.responses import RedirectResponse, Response

from fedproc.central.api.deps import AppState, app_state
from fedproc.central.api.middleware import bounded_by
from fedproc.central.api.pages import timeline
from fedproc.central.api.pages.access import Api, Form, FormWithFile, SignedIn, pages
from fedproc.central.api.pages.backend import ApiError, Backend
from fedproc.central.api.pages.citing import cited, is_citable
from fedproc.central.api.pages.last_lines import last_lines
from fedproc.central.api.pages.paging import Paging
from fedproc.central.api.pages.rendering import page, segment
from fedproc.common.errors import InvalidInputError
from fedproc.contract.api.experiments import ExperimentView, Logs, Page
from fedproc.contract.api.files import FileView
from fedproc.contract.api.tools import TaskView
from fedproc.contract.ids import EXPERIMENT_PATTERN
from fedproc.contract.states import ENDED, TERMINAL, ExperimentState

routes = pages()

_PART = 50
_LOG_LINES = 1000
_RESULTS = 200
_LARGEST = 1 << 30
"""bytes of a form with a file; what is larger goes by the command line, which goes on after a break"""
_CHUNK = 1 << 18
PICTURES = frozenset({"image/svg+xml", "image/png", "image/jpeg", "image/webp", "image/gif"})
"""that a page shows; a browser runs no script in an image"""


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
    deleted: Annotated[str, Query(pattern=f"{EXPERIMENT_PATTERN}|^$")] = "",
) -> Response:
    """What fits the filters, sorted and counted by the database; ``deleted`` is one that was there just now."""
    filters = {"text": text, "state": state, "sort": sort, "whose": whose if session.operates else ""}
    wanted = [*sorted(ENDED)] if state == "ended" else [state] if state else []
    found = await api.one(
        Page, "/experiments", text=text, state=wanted, sort=sort, mine=whose == "mine", count=True,
        offset=(part - 1) * _PART or None, limit=_PART,
    )  # fmt: skip
    paging = Paging(part, _PART, found.total or 0, "/dashboard/experiments", filters)
    states = [one.value for one in ExperimentState]
    values = {"found": found.items, "paging": paging, "states": states, "deleted": deleted}
    return page(request, "experiments.html", {**values, **filters})


@routes.get("/dashboard/experiments/{experiment}")
async def show_experiment(request: Request, experiment: str, api: Api, session: SignedIn) -> Response:
    """One experiment; what changes in it comes by :mod:`fedproc.central.api.pages.live`."""
    found = await api.one(ExperimentView, f"/experiments/{segment(experiment)}")
    return page(request, "experiment.html", await facts(api, found, session.subject, app_state(request)))


async def facts(api: Backend, experiment: ExperimentView, reader: str, app: AppState) -> dict[str, object]:
    """What an experiment's page shows."""
    results, more = await _results(api, experiment.id)
    tasks = await _tasks(api, experiment)
    return {
        "experiment": experiment,
        "picture": timeline.of(experiment),
        "results": results,
        "more": more,
        "pictures": [file for file in results if file.media_type in PICTURES and file.state == "complete"],
        "metrics": {task.name: task.metrics for task in tasks if task.metrics},
        "uploads": {task.name: _uploads(task) for task in tasks},
        "earlier": {task.name: earlier(task) for task in tasks},
        "own": experiment.owner == reader,
        "ended": experiment.ended is not None,
        "said": await last_lines(app, experiment),
        "citation": await cited(api, experiment, app.settings.public_url) if is_citable(experiment) else "",
    }


async def _results(api: Backend, experiment: str, cursor: str = "") -> tuple[list[FileView], str]:
    """So many of them, and the last one's id if there are more."""
    found = await api.many(FileView, f"/experiments/{experiment}/results", limit=_RESULTS + 1, cursor=cursor)
    return found[:_RESULTS], found[_RESULTS - 1].id if len(found) > _RESULTS else ""


@routes.get("/dashboard/experiments/{experiment}/results")
async def show_results(
    request: Request,
    experiment: str,
    api: Api,
    session: SignedIn,
    cursor: Annotated[str, Query(max_length=64)] = "",
) -> Response:
    """Its results after those that its own page shows."""
    found = await api.one(ExperimentView, f"/experiments/{segment(experiment)}")
    results, more = await _results(api, found.id, cursor)
    facts = {"experiment": found, "results": results, "more": more, "pictures": [], "ended": found.ended is not None}
    return page(request, "results.html", {**facts, "own": found.owner == session.subject})


async def _tasks(api: Backend, experiment: ExperimentView) -> list[TaskView]:
    """What its tool declares; nothing if the version was taken out of the catalogue."""
    try:
        return await api.many(TaskView, "/tools/tasks", tool=experiment.tool, version=experiment.version)
    except ApiError:
        return []


def _uploads(task: TaskView) -> list[str]:
    """Names of the inputs that its user sends."""
    return [str(entry["name"]) for entry in task.inputs if entry["kind"] == "upload"]


def earlier(task: TaskView) -> list[str]:
    """Names of the tasks that must have ended before it is sent to its hosts."""
    return [str(need["task"]) for need in task.needs if need.get("condition", "exited") == "exited"]


@routes.post("/dashboard/experiments/{experiment}/jobs/{job}/input/{name}")
@bounded_by(_LARGEST)
async def send_input(experiment: str, job: str, name: str, api: Api, form: FormWithFile) -> Response:
    """Send a file that a job waits for."""
    file = form.get("file")
    if not isinstance(file, UploadFile) or not file.filename:
        raise InvalidInputError("no file was chosen: go back, choose one, and send it again", code="form.file")
    kind = file.content_type or "application/octet-stream"
    path = f"/tasks/{segment(job)}/input"
    await api.send("PUT", path, query={"input": name}, content=_chunks(file), headers={"Content-Type": kind})
    return RedirectResponse(f"/dashboard/experiments/{segment(experiment)}", 303)


async def _chunks(file: UploadFile) -> AsyncIterator[bytes]:
    while chunk := await file.read(_CHUNK):
        yield chunk


@routes.get("/dashboard/experiments/{experiment}/report")
async def get_report(experiment: str, api: Api) -> Response:
    """What ran where, how long, with what, as the API tells it."""
    found = await api.one(ExperimentView, f"/experiments/{segment(experiment)}")
    return api.passed_on(f"/experiments/{found.id}/report")


@routes.post("/dashboard/experiments/{experiment}/start")
async def start(experiment: str, api: Api, form: Form) -> Response:
    """Start what was to be prepared."""
    await api.send("POST", f"/experiments/{segment(experiment)}/start")
    return RedirectResponse(f"/dashboard/experiments/{segment(experiment)}", 303)


@routes.get("/dashboard/experiments/{experiment}/crate")
async def get_crate(experiment: str, api: Api) -> Response:
    """Its record as a Five Safes RO-Crate, as the API gives it."""
    found = await api.one(ExperimentView, f"/experiments/{segment(experiment)}")
    return api.passed_on(f"/experiments/{found.id}/crate")


@routes.get("/dashboard/experiments/{experiment}/cancel")
async def ask_before_cancelling(request: Request, experiment: str, api: Api) -> Response:
    """What would be stopped, before it is."""
    found = await api.one(ExperimentView, f"/experiments/{segment(experiment)}")
    still = sum(job.state not in TERMINAL for job in found.jobs)
    return page(request, "cancel.html", {"experiment": found, "open": still})


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
    return RedirectResponse(f"/dashboard/experiments?deleted={segment(experiment)}", 303)


@routes.get("/dashboard/experiments/{experiment}/log")
async def show_log(
    request: Request,
    experiment: str,
    api: Api,
    host: Annotated[str, Query(max_length=31)] = "",
    job: Annotated[str, Query(max_length=64)] = "",
    cursor: Annotated[int, Query(ge=0, le=2**62)] = 0,
) -> Response:
    """What its jobs wrote, as far as their hosts let it out."""
    path = f"/experiments/{segment(experiment)}"
    found = await api.one(ExperimentView, path)
    logs = await api.one(Logs, f"{path}/logs", host=host, job=job, cursor=cursor or None, limit=_LOG_LINES)
    values = {"experiment": found, "logs": logs, "host": host, "job": job, "cursor": cursor}
    return page(request, "log.html", values)

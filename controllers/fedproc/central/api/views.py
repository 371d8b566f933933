"""From rows of the database to what the API shows."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Row

from fedproc.central.api.deps import AppState
from fedproc.central.api.release_view import release_view
from fedproc.central.experiments.held import is_held, is_laid_out, is_prepared, waits_for_start
from fedproc.central.tlog import witness
from fedproc.contract.api.experiments import (
    EventView,
    ExperimentView,
    JobView,
    LogLines,
    Report,
    ReportJob,
)
from fedproc.contract.api.files import FileView
from fedproc.contract.api.hosts import DatasetDetail, DatasetView, HostReportView, HostView
from fedproc.contract.api.operations import AuditEntry, DeadLetter
from fedproc.contract.api.tools import TaskView, ToolSummary, ToolView
from fedproc.contract.states import TERMINAL
from fedproc.contract.times import moment, moment_or_none
from fedproc.contract.tool.placeholders import HOST_PLACEHOLDER_FAMILIES, HOST_PLACEHOLDERS
from fedproc.contract.tool.task import Task
from fedproc.contract.tool.tool import Tool
from fedproc.contract.wire.release import PARTLY_CODE

_AT_CENTRE = frozenset({"queued"})


def job_view(row: Row[Any], created: float, heartbeat_timeout: float, *, held: bool = False) -> JobView:
    """One job; ``row`` also says when its host was last ``heard``, ``heartbeat_timeout`` is in seconds.

    ``held``: its experiment waits for its user's start.
    """
    snapshot: Mapping[str, Any] = row.snapshot or {}
    return JobView(
        id=row.id,
        experiment=row.experiment,
        host=row.host,
        task=row.task,
        state=row.state,
        code=row.code,
        reason=row.reason,
        waiting_for=_waiting_for(row, snapshot, held=held),
        laid_out=is_laid_out(row),
        unreachable=_unreachable(row, heartbeat_timeout),
        times=_times(row, snapshot, created),
        exit_code=snapshot.get("exit_code"),
        release=release_view(row, snapshot),
        connections=snapshot.get("connections", ()),
    )


def _waiting_for(row: Row[Any], snapshot: Mapping[str, Any], *, held: bool) -> str | None:
    if row.state == "queued" and row.uploads_missing > 0:
        return f"{row.uploads_missing} uploaded input(s): PUT /tasks/{row.id}/input"
    if row.state == "queued" and held:
        return waits_for_start(row)
    if row.state == "queued" and row.drained is not None:
        return f"{row.host} to take new jobs again: the federation's operator drains it ({row.drained})"
    return None if row.state in TERMINAL else snapshot.get("waiting_for")


def _unreachable(row: Row[Any], heartbeat_timeout: float) -> bool:
    if row.state in TERMINAL or row.state in _AT_CENTRE:
        return False
    return row.heard is None or row.heard < time.time() - heartbeat_timeout


def _times(row: Row[Any], snapshot: Mapping[str, Any], created: float) -> dict[str, Any]:
    times: dict[str, Any] = {"queued": moment(created)}
    if row.dispatched is not None:
        times["dispatched"] = moment(row.dispatched)
    times |= snapshot.get("times", {})
    if row.ended is not None:
        times.setdefault(row.state, moment(row.ended))
    return times


def experiment_view(
    row: Row[Any],
    jobs: Iterable[Row[Any]],
    heartbeat_timeout: float,
    without: Iterable[str] | None = None,
    partly: Iterable[str] | None = None,
) -> ExperimentView:
    """One experiment with these jobs.

    ``without`` are the hosts that it succeeded without, ``partly`` those that released a part, if the jobs do not tell.
    """
    request, held = row.request, is_held(row)
    shown = [job_view(job, row.created, heartbeat_timeout, held=held) for job in jobs]
    if without is None:
        without = (job.host for job in shown if row.state == "succeeded" and job.state != "succeeded")
    if partly is None:
        partly = (job.host for job in shown if job.code == PARTLY_CODE)
    return ExperimentView(
        id=row.id,
        state=row.state,
        tool=row.tool,
        version=row.version,
        digest=row.digest,
        label=row.label,
        owner=row.owner,
        owner_name=row.owner_name,
        created=moment(row.created),
        ended=None if row.ended is None else moment(row.ended),
        cancel_requested=row.cancel_requested,
        held=held,
        prepared=held and is_prepared(shown),
        held_until=moment(row.created + request["start_within"]) if held else None,
        succeeded_without=sorted(set(without)),
        partly_released=sorted(set(partly)),
        jobs=shown,
        **{name: request[name] for name in _OF_REQUEST if request.get(name) is not None},
    )


_OF_REQUEST = (
    "parameters", "host_parameters", "datasets", "selection", "dataset_selections", "project", "permit", "purpose",
    "told_by", "encrypt_to",
)  # fmt: skip


def event_view(row: Row[Any]) -> EventView:
    """One event; a change of state has its parts at the top, other kinds stand under their own name."""
    content = row.data if row.kind == "state" else {row.kind: row.data}
    return EventView(
        id=row.id,
        experiment=row.experiment,
        job=row.job,
        host=row.host,
        task=row.task,
        time=moment(row.time),
        **content,
    )


def log_lines(row: Row[Any]) -> LogLines:
    stream, lines = row.data.get("stream", "stdout"), row.data.get("lines", [])
    return LogLines(time=moment(row.time), job=row.job, host=row.host, task=row.task, stream=stream, lines=lines)


def file_view(app: AppState, row: Row[Any]) -> FileView:
    complete = row.state == "complete"
    return FileView(
        id=row.id,
        uri=app.url(f"/data/file/{row.id}"),
        path=row.path,
        state=row.state,
        size=row.size,
        received=row.size if complete else _received(app, row.id),
        sha256=row.sha256 or None,
        plain_sha256=row.plain_sha256,
        media_type=row.media_type,
        owner=row.owner,
        experiment=row.experiment,
        job=row.job,
        host=row.host,
        task=row.task,
        output=row.output,
        disclosure=row.disclosure,
        created=moment(row.created),
        upload=None if complete else app.url(f"/uploads/{row.id}"),
        content=app.url(f"/data/file/{row.id}/content") if complete else None,
    )


def _received(app: AppState, file: str) -> int:
    path = app.blobs.path(file)
    return path.stat().st_size if path.exists() else 0


def report(row: Row[Any], jobs: Iterable[Row[Any]]) -> Report:
    return Report(
        experiment=row.id,
        tool=row.tool,
        version=row.version,
        digest=row.digest,
        state=row.state,
        parameters=row.request.get("parameters", {}),
        jobs=[_report_job(job, row.created) for job in jobs],
    )


def _report_job(row: Row[Any], created: float) -> ReportJob:
    snapshot: Mapping[str, Any] = row.snapshot or {}
    used: Mapping[str, Any] = snapshot.get("used", {})
    return ReportJob(
        job=row.id,
        host=row.host,
        task=row.task,
        state=row.state,
        executor=snapshot.get("executor"),
        runtime=snapshot.get("runtime"),
        command=snapshot.get("command", []),
        exit_code=snapshot.get("exit_code"),
        cpu_seconds=used.get("cpu_seconds"),
        memory_peak=used.get("memory_peak"),
        seconds=used.get("seconds"),
        times=_times(row, snapshot, created),
        datasets=row.datasets,
    )


def host_view(row: Row[Any], heartbeat_timeout: float, datasets: Iterable[str] = ()) -> HostView:
    """One host with the ids of the ``datasets`` that it offers."""
    heartbeat: Mapping[str, Any] = row.heartbeat or {}
    names = (
        "condition",
        "condition_text",
        "software",
        "capacity",
        "executors",
        "tools",
        "tools_ready",
        "policy",
        "open_jobs",
        "check",
    )
    return HostView(
        id=row.id,
        site=row.site,
        roles=row.roles,
        location=row.location,
        active=row.active,
        drained=row.drained,
        accepted=row.is_accepted,
        alive=row.active and row.heard is not None and row.heard > time.time() - heartbeat_timeout,
        reached_by=_reached_by(row),
        last_heartbeat=None if row.heard is None else moment(row.heard),
        datasets=[f"{row.id}:{each}" for each in datasets],
        certificate_expires=moment_or_none(row.certificate_expires),
        log=witness.view(row.log),
        **{name: heartbeat[name] for name in names if name in heartbeat},
    )


def host_report_view(row: Row[Any]) -> HostReportView:
    return HostReportView(host=row.id, site=row.site, **(row.report or {}))


def _reached_by(row: Row[Any]) -> str:
    own = "its own outgoing connections to broker and API"
    return f"{own}; server tasks at {row.address}" if row.address else own


def dataset_view(row: Row[Any], heartbeat_timeout: float) -> DatasetView:
    """One that a host offers, by its row of the index; ``available`` while its host is heard of."""
    return DatasetView(
        id=f"{row.host}:{row.id}",
        host=row.host,
        version=row.version,
        label=row.label,
        description=row.description,
        title=row.title or "",
        creators=row.creators or [],
        files=row.files,
        size=row.size,
        catalogue=row.catalogue,
        persons=row.persons,
        modality=row.modality or [],
        body_part=row.body_part or [],
        kinds=row.kinds,
        available=row.heard is not None and row.heard > time.time() - heartbeat_timeout,
    )


def dataset_detail(view: DatasetView, pages: Sequence[Row[Any]]) -> DatasetDetail:
    """A dataset with the pages of its columns that have come."""
    columns = [column for page in pages for column in page.columns]
    complete = not pages or len(pages) == pages[0].pages
    imaging = next((page.imaging for page in pages if page.imaging is not None), None)
    return DatasetDetail(**view.model_dump(), columns=columns, complete=complete, imaging=imaging)


def tool_summary(app: AppState, row: Row[Any], tool: Tool) -> ToolSummary:
    return ToolSummary(**_summary(app, row, tool))


def _summary(app: AppState, row: Row[Any], tool: Tool) -> dict[str, Any]:
    return {
        "id": row.id,
        "version": row.version,
        "digest": row.digest,
        "name": tool.biotools.name,
        "description": tool.biotools.description,
        "mode": tool.mode,
        "href": app.url(f"/tools/{row.id}?version={row.version}"),
    }


def tool_view(app: AppState, row: Row[Any], tool: Tool, versions: list[str]) -> ToolView:
    tasks = app.url(f"/tools/tasks?tool={row.id}&version={row.version}&name=")
    return ToolView(
        **_summary(app, row, tool),
        versions=versions,
        parameters=tool.parameters,
        on_host_lost=tool.on_host_lost.model_dump(mode="json"),
        biotools=tool.biotools.model_dump(mode="json", exclude_none=True),
        survey=tool.survey.model_dump(mode="json"),
        tasks=[{"name": task.name, "href": tasks + task.name} for task in tool.tasks],
    )


def task_view(tool: Tool, task: Task) -> TaskView:
    return TaskView(
        tool=tool.id,
        version=tool.version,
        name=task.name,
        description=task.description,
        placement=task.placement,
        kind=task.kind,
        command=list(task.command),
        prepare=[list(step) for step in task.prepare],
        environment=task.environment,
        placeholders={name: _placeholder(name) for name in sorted(task.placeholders())},
        parameters=tool.parameters,
        resources=task.resources,
        runtime=task.runtime.model_dump(mode="json", exclude_none=True),
        needs=[need.model_dump(mode="json") for need in task.needs],
        inputs=[entry.model_dump(mode="json", exclude_none=True) for entry in task.inputs],
        outputs=[entry.model_dump(mode="json", exclude_none=True) for entry in task.outputs],
        metrics=[entry.model_dump(mode="json") for entry in task.metrics],
        ports=[entry.model_dump(mode="json") for entry in task.ports],
        connections=[entry.model_dump(mode="json", exclude_none=True) for entry in task.connections],
    )


def _placeholder(name: str) -> str:
    if name in HOST_PLACEHOLDERS:
        return HOST_PLACEHOLDERS[name]
    family, _, rest = name.partition(".")
    last = rest.rpartition(".")[2]
    return HOST_PLACEHOLDER_FAMILIES.get(f"{family}.NAME.{last}") or HOST_PLACEHOLDER_FAMILIES[f"{family}.NAME"]


def dead_letter(row: Row[Any]) -> DeadLetter:
    return DeadLetter(**{**row._mapping, "time": moment(row.time)})


def audit_entry(row: Row[Any]) -> AuditEntry:
    return AuditEntry(**{**row._mapping, "time": moment(row.time)})

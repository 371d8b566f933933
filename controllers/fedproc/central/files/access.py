"""Which host may fetch which file (D6.1 ``GET /data/file/{file_id}/access/``, computational nodes only)."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row

from fedproc.central.db.repositories import experiments, tools
from fedproc.contract.tool.tool import Tool


def may_fetch(connection: Connection, file: Row[Any], host: str) -> bool:
    """Whether ``host`` runs an open job whose order declares ``file`` as an input or artefact."""
    if file.experiment is None or file.state != "complete":
        return False
    open_jobs = experiments.open_jobs_on(connection, file.experiment, host)
    return any(_declares(tools.of_job(connection, job), job, file) for job in open_jobs)


def _declares(tool: Tool, job: Row[Any], file: Row[Any]) -> bool:
    if file.input is not None:
        return bool(file.job == job.id)
    if file.recipient is not None:
        output = tool.task(file.task).output(file.output)
        return file.recipient == job.host and output is not None and job.task in output.artefact_for
    return any(
        entry.kind == "output" and entry.task == file.task and entry.output in {None, file.output}
        for entry in tool.task(job.task).inputs
    )

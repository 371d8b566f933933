"""What of a job has left is noted for the host's own Data API, which lists it (:mod:`fedproc.site.data.results`)."""

from __future__ import annotations

import asyncio

from fedproc.common.log import get_logger
from fedproc.contract.data_api import ReleasedFile, ReleasedResult
from fedproc.site.data.results import Results
from fedproc.site.jobs.record import JobRecord
from fedproc.site.jobs.services import Services

log = get_logger(__name__)


async def note_released(services: Services, record: JobRecord, *, is_part: bool) -> None:
    """Have it listed, where the site wants that. A folder that cannot be written ends no job: all of it has left."""
    folder = services.settings.results
    files = tuple(
        ReleasedFile(output=each.output, path=each.path, sha256=each.sha256, size=each.size)
        for each in record.outputs
        if each.recipient is None
    )
    if folder is None or not files:
        return
    decision = record.decision
    result = ReleasedResult(
        job=record.job, experiment=record.order.experiment, task=record.order.task, tool=record.order.tool.id,
        tool_version=record.order.tool.version, tool_digest=record.order.tool.digest, datasets=record.versions,
        decision="automatic" if decision is None else "persons", is_part=is_part,
        released=services.identity.clock.now(), files=files,
    )  # fmt: skip
    try:
        await asyncio.to_thread(Results(folder).keep, result)
    except OSError as error:
        cure = f"let the orchestrator's user write {folder}, and make room there; the job's own log has what left"
        log.error("result.not_listed", job=record.job, reason=str(error), cure=cure)

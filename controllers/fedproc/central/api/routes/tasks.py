"""Jobs under D6.1's name for them: one job, its uploaded inputs, its outputs."""

from __future__ import annotations

import functools
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

from fastapi import Query, Request
from pydantic import TypeAdapter
from sqlalchemy import Row
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from fedproc.central.api.deps import AppState, Researcher, app_state, audit_event
from fedproc.central.api.middleware import bounded_by
from fedproc.central.api.routes.common import JobPath, answer, answer_list, owner_filter, read_one, router
from fedproc.central.api.views import file_view, job_view
from fedproc.central.auth.tokens import Caller
from fedproc.central.db.engine import read_transaction, write_transaction
from fedproc.central.db.repositories import experiments, files, tools
from fedproc.central.experiments.coordinator import HELD
from fedproc.central.experiments.quotas import MB
from fedproc.central.files.blobs import Incoming
from fedproc.central.files.download import FileDownload, zipped
from fedproc.central.files.inputs import Arrived, declared_upload
from fedproc.central.files.media_types import check_media_type, media_type_of, refuse_form
from fedproc.central.files.receive import sha256_of_headers, stream_to
from fedproc.common.errors import CutOffError, ForbiddenError, InvalidInputError, MalformedRequestError, NotFoundError
from fedproc.contract.api.base import Line
from fedproc.contract.api.experiments import JobView
from fedproc.contract.api.files import FileView
from fedproc.contract.ids import FILE_PATTERN, SHA256_PATTERN
from fedproc.contract.tool.task import InputDecl

routes = router("tasks")

_CHUNK = 1 << 20
_FILES = TypeAdapter(list[FileView])
_BINARY: dict[str, Any] = {
    "requestBody": {"required": True, "content": {"*/*": {"schema": {"type": "string", "format": "binary"}}}}
}


@routes.get("/tasks/{task_id}", response_model=JobView)
async def get_job(request: Request, task_id: JobPath, caller: Researcher) -> Response:
    """One job."""
    app = app_state(request)
    row = await read_one(app, lambda connection: experiments.job(connection, task_id, owner_filter(caller)))
    return answer(job_view(row, row.created, app.heartbeat_timeout, held=row.prepare == HELD))


@routes.put("/tasks/{task_id}/input", response_model=FileView, openapi_extra=_BINARY)
@bounded_by(float("inf"))
async def put_input(
    request: Request,
    task_id: JobPath,
    caller: Researcher,
    input: Annotated[Line | None, Query(max_length=48, description="which, if the task takes several")] = None,
    sha256: Annotated[str | None, Query(pattern=SHA256_PATTERN)] = None,
    file: Annotated[
        str | None,
        Query(pattern=FILE_PATTERN, description="take this file of one's own; the request then has no body"),
    ] = None,
) -> Response:
    """Send the bytes of a declared input. The job stays queued until all that it needs are there.

    A large one is better uploaded as a file first (``PUT /data/file/{path}``, resumable) and named here. The sha256
    of the bytes, if given (``Content-Digest`` or ``Repr-Digest``, RFC 9530, or the query), is checked. Sent again
    before the dispatch, it replaces what was sent; afterwards it is refused (409). The body is the bytes alone
    (``curl -T FILE``): a form is refused (415), and so is a ``Content-Type`` that the input does not take.
    """
    app = app_state(request)
    if "content-range" in request.headers:
        raise MalformedRequestError("send the whole input: Content-Range is not taken with PUT")
    announced = sha256 or sha256_of_headers(request.headers.get("repr-digest"), request.headers.get("content-digest"))
    if file is None:
        refuse_form(request.headers.get("content-type"), str(request.url))
    source = None if file is None else await run_in_threadpool(_own_file, app, file, caller)
    media_type = media_type_of(request.headers.get("content-type") if source is None else source.media_type)
    declared, row = await run_in_threadpool(_expect, app, task_id, caller, input, media_type)
    with app.blobs.locked(row.id) as incoming:
        chunks = request.stream() if source is None else _bytes_of(app.blobs.path(source.id))
        actual = await _receive(chunks, incoming, declared, announced if source is None else source.sha256)
        arrived = Arrived(row, actual, media_type)
        detail = f"{row.input} {actual}"
        record = functools.partial(audit_event(request).record, outcome=200, target=task_id, detail=detail)
        await run_in_threadpool(app.inputs.finish, arrived, incoming, record, time.time())
    return await run_in_threadpool(_entry, app, row.id)


def _expect(
    app: AppState, job_id: str, caller: Caller, name: str | None, media_type: str
) -> tuple[InputDecl, Row[Any]]:
    with write_transaction(app.engine) as connection:
        if experiments.job(connection, job_id, owner_filter(caller)).owner != caller.sub:
            raise ForbiddenError(f"only the user who started job {job_id} sends its inputs", code="forbidden.owner")
        job = experiments.locked_job(connection, job_id)
        declared = declared_upload(tools.of_job(connection, job).task(job.task), name)
        check_media_type(declared, media_type)
        return declared, app.inputs.expect(connection, job, declared.name, time.time())


def _own_file(app: AppState, file: str, caller: Caller) -> Row[Any]:
    with read_transaction(app.engine) as connection:
        row = files.one(connection, file)
    if row is None or row.owner != caller.sub or row.state != "complete" or row.recipient is not None:
        raise NotFoundError(f"there is no complete file {file} of yours; fedproc data files lists yours")
    return row


async def _bytes_of(path: Path) -> AsyncIterator[bytes]:
    """A stored file as a request's body would be: the last chunk is empty."""
    with path.open("rb") as content:
        while chunk := await run_in_threadpool(content.read, _CHUNK):
            yield chunk
    yield b""


async def _receive(chunks: AsyncIterator[bytes], incoming: Incoming, declared: InputDecl, announced: str | None) -> str:
    await run_in_threadpool(incoming.cut, 0)
    ended = await stream_to(chunks, incoming, declared.max_mb * MB)
    actual = await run_in_threadpool(incoming.sha256)
    if ended and announced in {None, actual}:
        return actual
    await run_in_threadpool(incoming.cut, 0)
    if not ended:
        raise CutOffError("the input was cut off; nothing of it was kept: send it again")
    raise InvalidInputError(
        f"the bytes have sha256 {actual}, announced was {announced}; nothing of them was kept: send them again",
        code="file.sha256",
    )


def _entry(app: AppState, file: str) -> Response:
    with read_transaction(app.engine) as connection:
        return answer(file_view(app, files.existing(connection, file)))


@routes.get("/tasks/{task_id}/output", response_class=Response)
def get_output(
    request: Request,
    task_id: JobPath,
    caller: Researcher,
    output: Annotated[Line | None, Query(max_length=48, description="only this declared output")] = None,
) -> Response:
    """The job's released outputs: one file as it is, several as a zip; ``Accept: application/json`` lists them."""
    app = app_state(request)
    with read_transaction(app.engine) as connection:
        job = experiments.job(connection, task_id, owner_filter(caller))
        rows = [row for row in files.outputs(connection, job=task_id) if output in {None, row.output}]
    if request.headers.get("accept", "").startswith("application/json"):
        return answer_list(_FILES, [file_view(app, row) for row in rows])
    audit = audit_event(request)
    audit.is_action, audit.target = True, task_id
    if job.owner != caller.sub:
        raise ForbiddenError(f"only the user who started job {task_id} gets its outputs", code="forbidden.owner")
    if not rows:
        raise NotFoundError(f"job {task_id} has no such output yet; it is {job.state}", code="not_found.output")
    if len(rows) == 1:
        return FileDownload(app.blobs, rows[0], request.headers)
    return zipped(app.blobs, rows, f"{task_id}.zip")

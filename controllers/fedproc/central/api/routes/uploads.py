"""Uploads by tus 1.0.0: core, creation, checksum (sha256) and termination."""

from __future__ import annotations

import base64
import binascii
import functools
import hashlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import Request
from pydantic import ValidationError
from sqlalchemy import Row
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from fedproc.central.api.deps import AnyCaller, AppState, HostCaller, app_state, audit_event
from fedproc.central.api.middleware import bounded_by
from fedproc.central.api.problems import from_validation
from fedproc.central.api.routes.common import FilePath, answer, router
from fedproc.central.api.views import file_view
from fedproc.central.auth.tokens import Caller
from fedproc.central.db.engine import read_transaction, write_transaction
from fedproc.central.db.repositories import files
from fedproc.central.experiments.quotas import MB
from fedproc.central.files import discards
from fedproc.central.files.blobs import Incoming
from fedproc.central.files.receive import sha256_of_checksum, stream_to
from fedproc.central.files.uploads import find_for
from fedproc.common.errors import (
    ChecksumError,
    ConflictError,
    CutOffError,
    MalformedRequestError,
    MediaTypeError,
    PreconditionError,
)
from fedproc.contract.api.files import FileView, NewUpload

routes = router("uploads")

VERSION = "1.0.0"
_OFFSET_TYPE = "application/offset+octet-stream"
_TUS = {"Tus-Resumable": VERSION, "Cache-Control": "no-store"}
_NEW_UPLOAD: dict[str, Any] = {
    "requestBody": {
        "description": "or none, and tus' Upload-Length and Upload-Metadata with the same names",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/NewUpload"}}},
    }
}


def _header(name: str, description: str, *, required: bool = True, **schema: Any) -> dict[str, Any]:
    found = {"name": name, "in": "header", "required": required, "description": description}
    return {**found, "schema": schema or {"type": "string"}}


def _answer(status: int, description: str, *names: str) -> dict[int | str, dict[str, Any]]:
    """An answer without a body, and its headers."""
    headers = {name: {"description": _SAYS[name], "schema": {"type": "string"}} for name in ("Tus-Resumable", *names)}
    return {status: {"description": description, "headers": headers}}


_SAYS = {
    "Tus-Resumable": "1.0.0",
    "Upload-Offset": "bytes that have arrived",
    "Upload-Length": "bytes that the file has",
    "Tus-Version": "versions of tus that this server speaks",
    "Tus-Extension": "extensions of tus that this server has",
    "Tus-Checksum-Algorithm": "sha256",
    "Tus-Max-Size": "bytes that a file may have",
}
_RESUMABLE = _header("Tus-Resumable", "the version of tus", enum=[VERSION])
_TUS_ONLY: dict[str, Any] = {"parameters": [_RESUMABLE]}
_BYTES: dict[str, Any] = {
    "parameters": [
        _RESUMABLE,
        _header("Upload-Offset", "bytes that have arrived, as HEAD says", type="integer", minimum=0),
        _header("Upload-Checksum", "sha256 and the base64 of these bytes' own", required=False),
    ],
    "requestBody": {
        "required": True,
        "content": {_OFFSET_TYPE: {"schema": {"type": "string", "format": "binary"}}},
    },
}
_NEW_UPLOAD["parameters"] = [
    _header("Tus-Resumable", "without a body: the version of tus", required=False, enum=[VERSION]),
    _header("Upload-Length", "without a body: bytes that will be sent", required=False, type="integer", minimum=0),
    _header("Upload-Metadata", "without a body: the other names, each with its base64", required=False),
]


def _speaks_tus(request: Request) -> None:
    version = request.headers.get("tus-resumable")
    if version != VERSION:
        raise PreconditionError(
            f"the header Tus-Resumable must say {VERSION}, not {version}",
            headers={"Tus-Version": VERSION},
        )


@routes.options(
    "/uploads",
    status_code=204,
    response_class=Response,
    responses=_answer(204, "what it has", "Tus-Version", "Tus-Extension", "Tus-Checksum-Algorithm", "Tus-Max-Size"),
)
async def describe_uploads(request: Request) -> Response:
    """What of tus this server has."""
    headers = {
        **_TUS,
        "Tus-Version": VERSION,
        "Tus-Extension": "creation,checksum,termination",
        "Tus-Checksum-Algorithm": "sha256",
        "Tus-Max-Size": str(app_state(request).settings.max_upload_mb * MB),
    }
    return Response(status_code=204, headers=headers)


@routes.post("/uploads", status_code=201, response_model=FileView, openapi_extra=_NEW_UPLOAD)
async def create_upload(request: Request, caller: HostCaller) -> Response:
    """A host announces one output of one of its jobs; the bytes go to ``Location``.

    Sent again with the same size and sha256, it answers with the same entry (200), so that a host may go on
    after a restart. A user makes entries with ``PUT /data/file/{file_path}``.
    """
    app = app_state(request)
    try:
        new = await _announced(request)
    except ValidationError as error:
        return from_validation(error.errors(include_url=False, include_input=False), request.url.path, NewUpload)
    status, row = await run_in_threadpool(_expect, request, str(caller.host), new)
    view = await run_in_threadpool(file_view, app, row)
    location = app.url(f"/uploads/{row.id}")
    return answer(view, status, {**_TUS, "Location": location, "Upload-Offset": str(view.received)})


async def _announced(request: Request) -> NewUpload:
    if request.headers.get("content-type", "").partition(";")[0].strip() == "application/json":
        return NewUpload.model_validate_json(await request.body())
    _speaks_tus(request)
    values: dict[str, Any] = dict(_metadata(request.headers.get("upload-metadata", "")))
    values["size"] = _number(request, "upload-length")
    return NewUpload.model_validate(values)


def _metadata(header: str) -> list[tuple[str, str]]:
    found = []
    for pair in filter(None, header.split(",")):
        key, _, value = pair.strip().partition(" ")
        try:
            found.append((key, base64.b64decode(value, validate=True).decode()))
        except (binascii.Error, ValueError) as error:
            raise MalformedRequestError(f"Upload-Metadata: {key!r}: not base64 of UTF-8") from error
    return found


def _number(request: Request, header: str) -> int:
    text = request.headers.get(header, "")
    if not (text.isascii() and text.isdigit() and len(text) <= 16):
        raise MalformedRequestError(f"the header {header.title()} must be a number of bytes")
    return int(text)


def _expect(request: Request, host: str, new: NewUpload) -> tuple[int, Row[Any]]:
    app, now = app_state(request), time.time()
    with write_transaction(app.engine) as connection:
        row = app.uploads.expect_output(connection, host, new, now)
        status = 201 if row.created == now else 200
        audit_event(request).record(connection, status, row.id, f"{new.job} {new.output}")
    return status, app.uploads.finish_if_empty(row)


@asynccontextmanager
async def _locked(request: Request, file: str, caller: Caller) -> AsyncIterator[tuple[Row[Any], Incoming]]:
    """The caller's entry under its writer's lock, read after the lock was got."""
    app = app_state(request)
    await run_in_threadpool(_find, app, file, caller)
    with app.blobs.locked(file) as incoming:
        yield await run_in_threadpool(_find, app, file, caller), incoming


def _find(app: AppState, file: str, caller: Caller) -> Row[Any]:
    with read_transaction(app.engine) as connection:
        return find_for(connection, file, caller)


@routes.head(
    "/uploads/{file_id}",
    response_class=Response,
    openapi_extra=_TUS_ONLY,
    responses=_answer(200, "how far it is", "Upload-Offset", "Upload-Length"),
)
async def get_offset(request: Request, file_id: FilePath, caller: AnyCaller) -> Response:
    """How many bytes have arrived. Completes an upload whose last bytes came just before this API was stopped."""
    _speaks_tus(request)
    async with _locked(request, file_id, caller) as (row, incoming):
        if row.state == "pending" and incoming.size == row.size:
            await _finish(request, row, incoming)
        offset = row.size if row.state == "complete" else incoming.size
        headers = {**_TUS, "Upload-Offset": str(offset), "Upload-Length": str(row.size)}
        return Response(status_code=200, headers=headers)


@routes.patch(
    "/uploads/{file_id}",
    status_code=204,
    response_class=Response,
    openapi_extra=_BYTES,
    responses=_answer(204, "they are kept", "Upload-Offset"),
)
@bounded_by(float("inf"))
async def append_bytes(request: Request, file_id: FilePath, caller: AnyCaller) -> Response:
    """Add bytes at ``Upload-Offset``. A cut connection keeps what has come; while it is held, others get 423.

    When the last byte is there, the sha256 is checked: if it is wrong, all bytes are dropped (422) and may be
    sent again from 0.
    """
    _speaks_tus(request)
    if request.headers.get("content-type", "").partition(";")[0].strip() != _OFFSET_TYPE:
        raise MediaTypeError(f"the Content-Type of tus' PATCH is {_OFFSET_TYPE}")
    offset, checksum = _number(request, "upload-offset"), request.headers.get("upload-checksum")
    announced = sha256_of_checksum(checksum) if checksum else None
    async with _locked(request, file_id, caller) as (row, incoming):
        _check_offset(row, incoming, offset)
        await _append(request, row, incoming, announced)
        return Response(status_code=204, headers={**_TUS, "Upload-Offset": str(incoming.size)})


def _check_offset(row: Row[Any], incoming: Incoming, offset: int) -> None:
    if row.state != "pending":
        raise ConflictError(f"file {row.id} is complete; nothing can be added", code="conflict.complete")
    if offset != incoming.size:
        raise ConflictError(
            f"{incoming.size} bytes have arrived, Upload-Offset says {offset}: ask with HEAD, then go on from there",
            code="conflict.offset",
            headers={"Upload-Offset": str(incoming.size)},
        )


async def _append(request: Request, row: Row[Any], incoming: Incoming, announced: str | None) -> None:
    start = incoming.size
    these = None if announced is None else hashlib.sha256()
    ended = await stream_to(request.stream(), incoming, row.size - start, these)
    if ended and these is not None and these.hexdigest() != announced:
        await run_in_threadpool(incoming.cut, start)
        raise ChecksumError("Upload-Checksum: these bytes have another sha256; dropped")
    if incoming.size == row.size:
        await _finish(request, row, incoming)
    elif not ended:
        raise CutOffError(f"the bytes stopped coming; {incoming.size} of {row.size} are kept: go on from there")
    else:
        audit_event(request).is_action = False


async def _finish(request: Request, row: Row[Any], incoming: Incoming) -> None:
    audit = audit_event(request)
    status, detail = 200 if request.method == "HEAD" else 204, f"{row.size} bytes, sha256 {row.sha256}"
    record = functools.partial(audit.record, outcome=status, target=row.id, detail=detail)
    await run_in_threadpool(app_state(request).uploads.finish, row, incoming, record)


@routes.delete(
    "/uploads/{file_id}",
    status_code=204,
    response_class=Response,
    openapi_extra=_TUS_ONLY,
    responses=_answer(204, "it is forgotten"),
)
async def delete_upload(request: Request, file_id: FilePath, caller: AnyCaller) -> Response:
    """Forget a file of one's own, or an output that is not complete, with its bytes."""
    _speaks_tus(request)
    async with _locked(request, file_id, caller) as (row, _):
        if row.job is not None and row.state == "complete":
            raise ConflictError(
                f"file {file_id} belongs to job {row.job}: it goes with its experiment, by"
                f" fedproc experiments delete {row.experiment}",
                code="conflict.complete",
            )
        await run_in_threadpool(_remove, request, file_id)
    return Response(status_code=204, headers=_TUS)


def _remove(request: Request, file: str) -> None:
    app, now = app_state(request), time.time()
    with write_transaction(app.engine) as connection:
        files.remove(connection, file)
        discards.note(connection, [file], now)
        audit_event(request).record(connection, 204, file)
    discards.remove(app.engine, app.blobs, [file], now)

"""File entries and their bytes (D6.1, Data Operations)."""

from __future__ import annotations

import time
from typing import Annotated, Any

from fastapi import Query, Request
from pydantic import TypeAdapter
from sqlalchemy import Row
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from fedproc.central.api.deps import Bearer, HostCaller, Researcher, app_state, audit_event
from fedproc.central.api.routes.common import FilePath, add_alias, answer, answer_list, router
from fedproc.central.api.views import file_view
from fedproc.central.db.engine import read_transaction, retry_on_conflict, write_transaction
from fedproc.central.db.repositories import experiments, files, hosts
from fedproc.central.files.access import may_fetch
from fedproc.central.files.download import FileDownload
from fedproc.central.files.signed_urls import UrlGrant
from fedproc.common.errors import ConflictError, ForbiddenError, InvalidInputError, NotFoundError
from fedproc.contract.api.base import Line
from fedproc.contract.api.files import Access, FilePage, FileView, NewFile
from fedproc.contract.ids import FILE_PATTERN, HOST_PATTERN, is_safe_path
from fedproc.contract.times import moment

routes = router("data")

_URIS = TypeAdapter(list[str])


@routes.get("/data/files/", response_model=list[str])
def list_files(
    request: Request,
    caller: Researcher,
    cursor: Annotated[str, Query(pattern=f"{FILE_PATTERN}|^$")] = "",
    limit: Annotated[int, Query(ge=1, le=1000)] = 1000,
) -> Response:
    """One's own complete files, results included, as a list of URIs; the ``Link`` header leads on if there are more."""
    app = app_state(request)
    with read_transaction(app.engine) as connection:
        ids = files.of_owner(connection, caller.sub, cursor, limit + 1)
    more = app.url(f"/data/files/?limit={limit}&cursor={ids[limit - 1]}") if len(ids) > limit else None
    headers = {"Link": f'<{more}>; rel="next"'} if more else None
    return answer_list(_URIS, [app.url(f"/data/file/{file}") for file in ids[:limit]], headers)


@routes.get("/data/entries", response_model=FilePage)
def list_entries(
    request: Request,
    caller: Researcher,
    text: Annotated[Line | None, Query(max_length=200, description="in the path")] = None,
    offset: Annotated[int, Query(ge=0, le=2**31)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Response:
    """One's own complete files, results included, with what is known of each; newest first."""
    app = app_state(request)
    with read_transaction(app.engine) as connection:
        rows, total, size = files.page_of_owner(connection, caller.sub, text, offset, limit)
        labels = experiments.labels(connection, sorted({row.experiment for row in rows if row.experiment}))
    return answer(FilePage(items=[file_view(app, row) for row in rows], total=total, bytes=size, labels=labels))


@routes.get("/data/file/{file_id}", response_model=FileView)
def get_file(request: Request, file_id: FilePath, caller: Researcher) -> Response:
    """A file's entry: where it is, what it is, whose it is."""
    app = app_state(request)
    with read_transaction(app.engine) as connection:
        row = files.one(connection, file_id)
    if row is None or not (caller.operates or row.owner == caller.sub):
        raise NotFoundError(f"there is no file {file_id} that you may see; fedproc data files lists yours")
    return answer(file_view(app, row))


@routes.get("/data/file/{file_id}/access/", response_model=Access)
def get_access(request: Request, file_id: FilePath, caller: HostCaller) -> Response:
    """A short-lived URI to the bytes, for a host that runs a job which declares this file, and for nobody else."""
    app, audit = app_state(request), audit_event(request)
    audit.is_action, audit.target = True, file_id
    host = str(caller.host)
    with write_transaction(app.engine) as connection:
        row = files.one(connection, file_id)
        if row is None or not may_fetch(connection, row, host):
            raise ForbiddenError(f"{host} runs no open job that declares file {file_id}", code="forbidden.file")
        path, expires = app.signed_urls.make(file_id, host, time.time())
        audit.record(connection, 200, file_id)
    return answer(Access(uri=app.url(path), expires=moment(expires), sha256=row.sha256, size=row.size))


_user = Bearer("researcher")


@routes.get("/data/file/{file_id}/content", response_class=Response, openapi_extra={"security": [{"oauth2": []}, {}]})
async def get_content(
    request: Request,
    file_id: FilePath,
    host: Annotated[
        str | None, Query(pattern=HOST_PATTERN, description="of a link, with expires and signature")
    ] = None,
    expires: Annotated[int | None, Query(ge=0, le=2**53)] = None,
    signature: Annotated[str | None, Query(pattern="^[0-9a-f]{64}$")] = None,
) -> Response:
    """The bytes: for the file's owner with a token, for a host by the link that ``/access/`` gave. Takes ``Range``."""
    if host is not None and expires is not None and signature is not None:
        return await run_in_threadpool(_by_link, request, UrlGrant(file_id, host, expires), signature)
    caller = await _user(request)
    audit_event(request).is_action = True
    audit_event(request).target = file_id
    return await run_in_threadpool(_content, request, file_id, caller.sub)


def _by_link(request: Request, grant: UrlGrant, signature: str) -> Response:
    app, audit = app_state(request), audit_event(request)
    audit.actor = f"host:{grant.host}"
    app.signed_urls.check(grant, signature)
    with read_transaction(app.engine) as connection:
        if not hosts.is_active(connection, grant.host):
            raise ForbiddenError(f"host {grant.host} is not enrolled or was revoked", code="forbidden.host")
    return _content(request, grant.file, None)


def _content(request: Request, file: str, owner: str | None) -> Response:
    app = app_state(request)
    with read_transaction(app.engine) as connection:
        row = files.one(connection, file)
    if row is None or owner not in {None, row.owner} or (owner is not None and row.recipient is not None):
        raise NotFoundError(f"there is no file {file} that you may see; fedproc data files lists yours")
    if row.state != "complete":
        raise ConflictError(f"the bytes of file {file} have not all arrived yet", code="conflict.pending")
    return FileDownload(app.blobs, row, request.headers)


@routes.put(
    "/data/file/{file_path:path}", status_code=201, response_model=FileView, responses={200: {"model": FileView}}
)
def put_file(request: Request, file_path: str, body: NewFile, caller: Researcher) -> Response:
    """Make an entry for a file of one's own under this path.

    Its bytes are then sent to ``upload`` by tus 1.0.0 (PATCH with ``Upload-Offset``); they count when size and
    sha256 are as announced here. Sent again with the same size and sha256, it answers with the same entry.
    """
    if not is_safe_path(file_path):
        raise InvalidInputError(
            "file_path must be relative, without . or .. segments, control characters or backslashes", code="path"
        )
    app, now = app_state(request), time.time()

    def write() -> tuple[int, Row[Any]]:
        with write_transaction(app.engine) as connection:
            row = app.uploads.expect_file(connection, caller, file_path, body, now)
            status = 201 if row.created == now else 200
            audit_event(request).record(connection, status, row.id)
            return status, row

    status, row = retry_on_conflict(write)
    view = file_view(app, app.uploads.finish_if_empty(row))
    return answer(view, status, {"Location": view.uri, "Tus-Resumable": "1.0.0"})


add_alias(routes, "/data/files", list_files)
add_alias(routes, "/data/file/{file_id}/access", get_access)

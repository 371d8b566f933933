"""One's own files: results that were released, and what one has uploaded."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from fedproc.central.api.pages.access import Api, Form, pages
from fedproc.central.api.pages.looking import can_be_looked_at, looked_at
from fedproc.central.api.pages.paging import Paging
from fedproc.central.api.pages.rendering import page, segment
from fedproc.contract.api.files import FilePage, FileView
from fedproc.contract.ids import FILE_PATTERN

routes = pages()

_PART = 100
_HANDED_ON = frozenset({b"range", b"if-range"})
_TUS = {"Tus-Resumable": "1.0.0"}


@routes.get("/dashboard/files")
async def show_files(
    request: Request,
    api: Api,
    text: Annotated[str, Query(max_length=200)] = "",
    part: Annotated[int, Query(alias="page", ge=1, le=100_000)] = 1,
    deleted: Annotated[str, Query(pattern=f"{FILE_PATTERN}|^$")] = "",
) -> Response:
    """Newest first; ``deleted`` is one that was there just now."""
    found = await api.one(FilePage, "/data/entries", text=text, offset=(part - 1) * _PART or None, limit=_PART)
    paging = Paging(part, _PART, found.total, "/dashboard/files", {"text": text})
    values = {"files": found.items, "labels": found.labels, "paging": paging, "bytes": found.bytes, "text": text}
    return page(request, "files.html", {**values, "deleted": deleted})


@routes.get("/dashboard/files/{file}")
async def look_at(request: Request, file: str, api: Api) -> Response:
    """A small text or table as a page; all else is to be saved, and leads there."""
    found = await api.one(FileView, f"/data/file/{segment(file)}")
    if not can_be_looked_at(found):
        return RedirectResponse(f"/dashboard/files/{found.id}/content", 303)
    content = (await api.send("GET", f"/data/file/{found.id}/content")).content
    looked = await run_in_threadpool(looked_at, found.path, content)
    return page(request, "look.html", {"file": found, "looked": looked})


@routes.get("/dashboard/files/{file}/content")
async def get_bytes(request: Request, file: str, api: Api) -> Response:
    """The bytes, as the API gives them to their owner."""
    found = await api.one(FileView, f"/data/file/{segment(file)}")  # a fault of which is told as a page
    headers = [(name, value) for name, value in request.headers.raw if name in _HANDED_ON]
    return api.passed_on(f"/data/file/{found.id}/content", headers)


@routes.post("/dashboard/files/{file}/delete")
async def delete_file(file: str, api: Api, form: Form) -> Response:
    """Forget a file that one has put there oneself."""
    await api.send("DELETE", f"/uploads/{segment(file)}", headers=_TUS)
    return RedirectResponse(f"/dashboard/files?deleted={segment(file)}", 303)

"""One's own files: results that were released, and what one has uploaded."""

from __future__ import annotations

from fastapi import Request
from starlette.responses import Response

from fedproc.central.api.pages.access import Api, pages
from fedproc.central.api.pages.rendering import segment
from fedproc.contract.api.files import FileView

routes = pages()

_HANDED_ON = frozenset({b"range", b"if-range"})


@routes.get("/dashboard/files/{file}/content")
async def get_bytes(request: Request, file: str, api: Api) -> Response:
    """The bytes, as the API gives them to their owner."""
    found = await api.one(FileView, f"/data/file/{segment(file)}")  # a fault of which is told as a page
    headers = [(name, value) for name, value in request.headers.raw if name in _HANDED_ON]
    return api.passed_on(f"/data/file/{found.id}/content", headers)

"""Addresses below the dashboard at which there is no page. It is the last of the pages."""

from __future__ import annotations

from fastapi import Request
from starlette.responses import Response

from fedproc.central.api.pages.access import MaybeSignedIn, pages
from fedproc.common.errors import NotFoundError

routes = pages()


@routes.get("/dashboard/{rest:path}")
async def show_nothing(request: Request, rest: str, session: MaybeSignedIn) -> Response:
    """A page that says so."""
    raise NotFoundError("there is no page at this address: the address may be cut off, or of another release")

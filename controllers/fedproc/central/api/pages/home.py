"""The first screen: what this is, and what to do next."""

from __future__ import annotations

from fastapi import Request
from starlette.responses import RedirectResponse, Response

from fedproc.central.api.pages.access import MaybeSignedIn, as_user, pages, signed_in
from fedproc.central.api.pages.rendering import page
from fedproc.central.api.problems import from_error
from fedproc.common.errors import NotAuthenticatedError, NotFoundError
from fedproc.contract.api.experiments import Page
from fedproc.contract.api.tools import ToolSummary

routes = pages()

_LAST = 5


@routes.get("/")
async def show_root(request: Request) -> Response:
    """The dashboard is what a browser finds at the API's address; a program finds nothing, as before."""
    if "text/html" not in request.headers.get("accept", ""):
        return from_error(NotFoundError("there is nothing at this path; /docs lists what there is"), "/")
    return RedirectResponse("/dashboard", 307)


@routes.get("/dashboard")
async def show_home(request: Request, session: MaybeSignedIn) -> Response:
    """To a stranger what this is and how to sign in; else what is there, and one's last experiments."""
    if session is None:
        return page(request, "welcome.html")
    try:
        session = await signed_in(request, session)
    except NotAuthenticatedError:
        return page(request, "welcome.html")
    if not session.roles:
        return page(request, "no_role.html", status=403)
    api = as_user(request, session)
    values = {
        "hosts": (await api.count("/hosts/", brief=True, show="alive"), await api.count("/hosts/", brief=True)),
        "datasets": (await api.count("/datasets", available=True), await api.count("/datasets")),
        "tools": await api.many(ToolSummary, "/tools"),
        "last": await api.one(Page, "/experiments", mine=True, limit=_LAST, count=True),
    }
    return page(request, "home.html", values)


@routes.get("/dashboard/")
async def show_home_again(request: Request) -> Response:
    return RedirectResponse("/dashboard", 307)

"""Hosts: who is there, what each has, and what is wrong; looked at again every few seconds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import Query, Request
from starlette.responses import HTMLResponse, Response

from fedproc.central.api.pages.access import Api, SignedIn, pages
from fedproc.central.api.pages.paging import Paging
from fedproc.central.api.pages.rendering import fragment, page, segment
from fedproc.contract.api.hosts import DatasetView, HostView

routes = pages()

_PART = 100
_SHOWN = {"all": "", "up": "well", "trouble": "trouble"}
"""what the API calls it"""
_DATASETS = 100
"""of one host on its page; the list of datasets has the others"""
_SOON = timedelta(days=30)
"""before its end that a certificate's expiry is a warning, as the host check has it"""

Text = Annotated[str, Query(max_length=100)]
Show = Annotated[str, Query(pattern="^(all|up|trouble)$")]
Part = Annotated[int, Query(alias="page", ge=1, le=10_000)]


@routes.get("/dashboard/hosts")
async def show_hosts(request: Request, api: Api, text: Text = "", show: Show = "all", part: Part = 1) -> Response:
    """The hosts that fit the filters, in parts."""
    return page(request, "hosts.html", await _found(api, text, show, part))


@routes.get("/dashboard/hosts/table")
async def show_table(request: Request, api: Api, text: Text = "", show: Show = "all", part: Part = 1) -> Response:
    """The same list alone, for the page that asks again."""
    return HTMLResponse(fragment(request, "hosts_table.html", await _found(api, text, show, part)))


async def _found(api: Api, text: str, show: str, part: int) -> dict[str, object]:
    found, fitting = await api.counted(
        HostView, "/hosts/", text=text, show=_SHOWN[show], brief=True, offset=(part - 1) * _PART or None, limit=_PART
    )
    return {
        "hosts": found,
        "paging": Paging(part, _PART, fitting, "/dashboard/hosts", {"text": text, "show": show}),
        "text": text,
        "show": show,
        "total": await api.count("/hosts/", brief=True),
        "up": await api.count("/hosts/", brief=True, show="accepting"),
        "condition_of": condition_of,
        "expiry_of": expiry_of,
        "now": datetime.now(UTC),
    }


def condition_of(host: HostView) -> tuple[str, str]:
    """How it is in a word, and why; the word also names its mark."""
    if not host.active:
        return "revoked", "the operator revoked it"
    if not host.alive:
        never = host.last_heartbeat is None
        return "offline", "it was never heard of" if never else "it is not heard of any more"
    if not host.accepted:
        return "not accepted", "it has not passed its acceptance yet"
    if host.drained is not None:
        return "drained", f"by the federation's operator: {host.drained}"
    if host.condition != "accepting":
        return host.condition, host.condition_text
    return ("alarm", host.condition_text) if host.condition_text else ("online", "")


def expiry_of(host: HostView) -> str:
    """``over``, ``soon`` or nothing: how its certificate stands."""
    if host.certificate_expires is None:
        return ""
    left = host.certificate_expires - datetime.now(UTC)
    return "over" if left <= timedelta() else "soon" if left < _SOON else ""


@routes.get("/dashboard/hosts/{host}")
async def show_host(request: Request, host: str, api: Api, session: SignedIn) -> Response:
    """One host with all that it says of itself."""
    found = await api.one(HostView, f"/hosts/{segment(host)}")
    datasets = await api.many(DatasetView, "/datasets", host=found.id, limit=_DATASETS)
    values = {
        "host": found,
        "datasets": datasets,
        "more": len(found.datasets) - len(datasets),
        "condition": condition_of(found),
        "expiry": expiry_of(found),
    }
    return page(request, "host.html", values)

"""From a template to an answer: the environment of all pages, and the headers under which a browser shows them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlencode, urlsplit

from fastapi import Request
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse, Response

from fedproc.central.api.deps import AppState, app_state
from fedproc.central.api.pages import assets, formatting, helping, looking
from fedproc.central.auth.sessions import Session
from fedproc.contract.api.experiments import whose_word
from fedproc.contract.states import goes_on

R = TypeVar("R", bound=Response)

_TEMPLATES = Path(__file__).parent / "templates"
_HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
PLACES = [
    ("/dashboard/new", "New experiment"),
    ("/dashboard/experiments", "Experiments"),
    ("/dashboard/datasets", "Datasets"),
    ("/dashboard/tools", "Tools"),
    ("/dashboard/hosts", "Hosts"),
    ("/dashboard/files", "My files"),
]
OPERATE = ("/dashboard/operate", "Operate")


@cache
def environment() -> Environment:
    """Everything is escaped, and a name that is not there is an error."""
    made = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,  # a template of the next release fits no code of this one
    )  # fmt: skip
    made.filters |= {
        "moment": formatting.moment, "ago": formatting.ago, "duration": formatting.duration, "size": formatting.size,
        "whose_word": whose_word,
        "badge": formatting.badge, "state_of": formatting.state_of, "job_state_of": formatting.job_state_of,
        "is_over": formatting.is_over, "segment": segment, "linked": formatting.linked,
        "timed": formatting.timed,
        "filled": formatting.filled, "sentence": formatting.sentence, "counted": formatting.counted,
        "state_word": formatting.state_word, "goes_on": goes_on,
    }  # fmt: skip
    made.tests |= {"to_look_at": looking.can_be_looked_at}
    made.globals |= {"asset": assets.address_of, "query": query, "help_at": helping.address}
    made.filters |= {"facts_for_help": helping.facts_of}
    return made


def segment(text: str) -> str:
    """One segment of a path, whatever characters it has."""
    return quote(text, safe="")


def query(**values: Any) -> str:
    """A query of what is not empty; a list names its key several times."""
    pairs = [(key, value) for key, value in values.items() if value not in (None, "", [], ())]
    return urlencode(pairs, doseq=True)


def policy(app: AppState) -> str:
    """No inline script or style, nothing from elsewhere; signing out leads a form to the issuer."""
    issuer = urlsplit(app.settings.issuer.url)
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        f"form-action 'self' {issuer.scheme}://{issuer.netloc}; base-uri 'none'; frame-ancestors 'none'"
    )


def page(request: Request, template: str, values: Mapping[str, Any] | None = None, status: int = 200) -> HTMLResponse:
    """A whole page; its header knows who is signed in."""
    return guarded(request, HTMLResponse(fragment(request, template, values or {}), status))


def guarded(request: Request, answer: R) -> R:
    """With the headers that every answer of the dashboard has, unless it has its own: nothing is kept by a browser."""
    for name, value in {**_HEADERS, "Content-Security-Policy": policy(app_state(request))}.items():
        answer.headers.setdefault(name, value)
    return answer


def fragment(request: Request, template: str, values: Mapping[str, Any]) -> str:
    """A template's text; ``session`` is None for who is not signed in."""
    session = getattr(request.state, "session", None)
    own = {
        "session": session, "method": request.method, "path": request.url.path, "places": places(session),
        "help": app_state(request).settings.help,
    }  # fmt: skip
    return environment().get_template(template).render(**own, **values)


def places(session: Session | None) -> list[tuple[str, str]]:
    """What the header of each page leads to."""
    if session is None or not session.roles:
        return []
    return [*PLACES, OPERATE] if session.operates else PLACES

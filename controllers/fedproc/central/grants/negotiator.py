"""EUCAIM's adapter of the Negotiator (user-negotiations-info): which resources were made available to the user.

``GET /api/v1/negotiations?type=CONCLUDED|IN_PROGRESS&page&size`` with the user's own header; pages count from 0 and
have ``data`` (negotiations, each with its ``resources``), ``totalElements`` and ``totalPages``. What counts is the
state of the resource, not that of the negotiation: of concluded ones the adapter names those alone that were made
available; of those in progress it names all, so that of them a resource counts only if its state comes along.

Of an adapter that tells projects (its setting), a negotiation or one of its resources may have ``project``, ``permit``,
``purpose`` and ``until`` (ISO 8601 with an offset), each of them or none; what the resource has goes before.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeGuard

import httpx

from fedproc.central.grants.answers import NotAskedError, Person, Terms
from fedproc.central.grants.http import json_of
from fedproc.central.settings import NegotiatorSettings
from fedproc.common.tls import client_context

_AVAILABLE = "RESOURCE_MADE_AVAILABLE"
_SIZE = 50
_MOST_PAGES = 200
_LONGEST_ID = 200
_NONE = "no negotiation has made it available to you"
_LONGEST = {"project": 200, "permit": 200, "purpose": 500}
"""characters, as those that users write"""
_LAST = datetime(9999, 12, 31, tzinfo=UTC).timestamp()
"""seconds since 1970: whoever means no end names the calendar's, which is in the year 10000 elsewhere"""


class Negotiator:
    """Asks the adapter; see the module."""

    def __init__(self, settings: NegotiatorSettings) -> None:
        self._settings = settings
        self._url = settings.url.rstrip("/") + "/api/v1/negotiations"
        self._http = httpx.AsyncClient(verify=client_context(settings.ca_file), follow_redirects=False)

    async def close(self) -> None:
        await self._http.aclose()

    async def ask(self, person: Person, resources: Sequence[str]) -> Mapping[str, Sequence[Terms] | str]:
        """Every page of both kinds is read, whatever was found before: half an answer is none."""
        token = await person.token(self._settings.audience)
        found: dict[str, list[Terms]] = {}
        for kind in ("CONCLUDED", "IN_PROGRESS"):
            async for negotiation in self._negotiations(kind, token):
                for resource in _available(negotiation, stated=kind == "CONCLUDED"):
                    found.setdefault(resource["sourceId"], []).append(self._terms(negotiation, resource))
        return {name: sorted(found[name], key=_end, reverse=True) if name in found else _NONE for name in resources}

    def _terms(self, negotiation: Mapping[str, Any], resource: Mapping[str, Any]) -> Terms:
        identity = str(negotiation["id"])
        if not self._settings.projects:
            return Terms(permit=identity)
        named = {name: value for one in (negotiation, resource) for name in (*_LONGEST, "until")
                if (value := one.get(name)) is not None}  # fmt: skip
        return terms_of(named, identity)

    async def _negotiations(self, kind: str, token: str) -> AsyncIterator[dict[str, Any]]:
        seen: set[str] = set()
        number, pages, total = 0, 1, 0
        while number < pages:
            page = await json_of(self._http, self._url, token, self._settings.seconds,
                                 type=kind, page=number, size=_SIZE)  # fmt: skip
            entries, total, pages = _page(page, self._url)
            for entry in entries:
                seen.add(str(entry["id"]))
                yield entry
            number += 1
        if len(seen) != total:
            raise NotAskedError(f"{self._url} names {len(seen)} of {total} negotiations: its pages changed meanwhile")


def _page(page: Mapping[str, Any], url: str) -> tuple[list[dict[str, Any]], int, int]:
    """Its negotiations, how many there are in all, and on how many pages."""
    entries, total, pages = page.get("data"), page.get("totalElements"), page.get("totalPages")
    if not _are_negotiations(entries) or not _is_count(total) or not _is_count(pages) or (total and not pages):
        raise NotAskedError(f"{url} gives no page of negotiations")
    if pages > _MOST_PAGES:
        raise NotAskedError(f"{url} has {pages} pages of negotiations; {_MOST_PAGES} are read at most")
    return entries, total, pages


def _are_negotiations(value: Any) -> TypeGuard[list[dict[str, Any]]]:
    return isinstance(value, list) and all(isinstance(entry, dict) and _is_id(entry.get("id")) for entry in value)


def _is_id(value: Any) -> bool:
    return _is_text(value, _LONGEST_ID)


def _is_count(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def terms_of(named: Mapping[str, Any], negotiation: str) -> Terms:
    """What a negotiation tells of its grant; its id is the permit unless one is named. Raises NotAskedError."""
    for name, most in _LONGEST.items():
        if name in named and not _is_text(named[name], most):
            raise NotAskedError(f"negotiation {negotiation!r} has a {name} that is no text of 1 to {most} characters")
    until = named.get("until")
    try:
        ends = None if until is None else datetime.fromisoformat(until)
    except (TypeError, ValueError):
        ends = None
    if until is not None and (ends is None or ends.tzinfo is None):
        raise NotAskedError(f"negotiation {negotiation!r} has an until that is no time with an offset (ISO 8601)")
    return Terms(
        named.get("project"), named.get("permit", negotiation), named.get("purpose"),
        None if ends is None else min(ends.timestamp(), _LAST), binds=True,
    )  # fmt: skip


def _end(terms: Terms) -> float:
    return math.inf if terms.until is None else terms.until


def _is_text(value: Any, most: int) -> bool:
    return isinstance(value, str) and 0 < len(value) <= most and value.isprintable() and not value.isspace()


def _available(negotiation: Mapping[str, Any], *, stated: bool) -> Iterator[Mapping[str, Any]]:
    """The resources that it makes available. ``stated``: one without a state is, as the adapter has chosen by it."""
    resources = negotiation.get("resources")
    if not isinstance(resources, list):
        raise NotAskedError(f"negotiation {negotiation['id']!r} comes without its resources")
    for resource in resources:
        source = resource.get("sourceId") if isinstance(resource, dict) else None
        if not isinstance(source, str):
            raise NotAskedError(f"negotiation {negotiation['id']!r} has a resource without sourceId")
        if resource.get("currentState", _AVAILABLE if stated else None) == _AVAILABLE:
            yield resource

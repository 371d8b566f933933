"""EUCAIM's adapter of the Negotiator (user-negotiations-info): which resources were made available to the user.

``GET /api/v1/negotiations?type=CONCLUDED|IN_PROGRESS&page&size`` with the user's own header; pages count from 0 and
have ``data`` (negotiations, each with its ``resources``), ``totalElements`` and ``totalPages``. What counts is the
state of the resource, not that of the negotiation: of concluded ones the adapter names those alone that were made
available; of those in progress it names all, so that of them a resource counts only if its state comes along.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
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


class Negotiator:
    """Asks the adapter; see the module."""

    def __init__(self, settings: NegotiatorSettings) -> None:
        self._settings = settings
        self._url = settings.url.rstrip("/") + "/api/v1/negotiations"
        self._http = httpx.AsyncClient(verify=client_context(settings.ca_file), follow_redirects=False)

    async def close(self) -> None:
        await self._http.aclose()

    async def ask(self, person: Person, resources: Sequence[str]) -> Mapping[str, Terms | str]:
        """Every page of both kinds is read, whatever was found before: half an answer is none."""
        token = await person.token(self._settings.audience)
        found: dict[str, str] = {}
        for kind in ("CONCLUDED", "IN_PROGRESS"):
            async for negotiation in self._negotiations(kind, token):
                for resource in _available(negotiation, stated=kind == "CONCLUDED"):
                    found.setdefault(resource, str(negotiation["id"]))
        return {name: Terms(permit=found[name]) if name in found else _NONE for name in resources}

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
    return isinstance(value, str) and 0 < len(value) <= _LONGEST_ID and value.isprintable()


def _is_count(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _available(negotiation: Mapping[str, Any], *, stated: bool) -> Iterator[str]:
    """The resources that it makes available. ``stated``: one without a state is, as the adapter has chosen by it."""
    resources = negotiation.get("resources")
    if not isinstance(resources, list):
        raise NotAskedError(f"negotiation {negotiation['id']!r} comes without its resources")
    for resource in resources:
        source = resource.get("sourceId") if isinstance(resource, dict) else None
        if not isinstance(source, str):
            raise NotAskedError(f"negotiation {negotiation['id']!r} has a resource without sourceId")
        if resource.get("currentState", _AVAILABLE if stated else None) == _AVAILABLE:
            yield source

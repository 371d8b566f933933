"""Entities of an RO-Crate: what several of its parts name, each under one id."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any
from urllib.parse import quote

Entity = dict[str, Any]

ROOT = "./"
TOOL = "tool/"
"""the workflow crate of the tool, inside of this one"""
PROJECT = "#project"
CENTRE = "#centre"
POTENTIAL, ACTIVE, COMPLETED, FAILED = (
    f"http://schema.org/{status}ActionStatus" for status in ("Potential", "Active", "Completed", "Failed")
)


def ref(entity: str) -> dict[str, str]:
    return {"@id": entity}


def refs(entities: Iterable[str]) -> list[dict[str, str]]:
    """Each once, in their order."""
    return [ref(entity) for entity in dict.fromkeys(entities)]


def known(**values: Any) -> Entity:
    """Without what is not known: no placeholder stands in its place."""
    return {name: value for name, value in values.items() if value not in (None, "", [])}


def moment(value: datetime | None) -> str | None:
    """RFC 3339, with its offset."""
    return None if value is None else value.isoformat(timespec="seconds")


def local(kind: str, *names: str) -> str:
    """An id within this crate, whatever the names hold."""
    return f"#{kind}-" + "-".join(quote(name, safe="") for name in names)

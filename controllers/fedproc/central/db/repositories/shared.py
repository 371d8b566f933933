"""What messages of one experiment have in common, each once."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select

from fedproc.central.db.schema import shared
from fedproc.contract.wire.jws import canonical

_IDS: Any = bindparam("ids", expanding=True)
_THERE = select(shared.c.id).where(shared.c.id.in_(_IDS))
_READ = select(shared.c.id, shared.c.size, shared.c.value).where(shared.c.id.in_(_IDS))
_ADD = insert(shared)
_AT_ONCE = 5_000


@dataclass(frozen=True, slots=True)
class Part:
    """Fields of a message: ``value`` as JSON, its ``size`` in bytes, and the ``id`` under which it is kept."""

    id: str
    size: int
    value: Mapping[str, Any]


def part(experiment: str, value: Mapping[str, Any]) -> Part:
    """The same of an experiment for the same value."""
    raw = canonical(value)
    return Part(hashlib.sha256(f"{experiment}\n".encode() + raw).hexdigest(), len(raw), value)


def keep(connection: Connection, experiment: str, parts: Collection[Part]) -> None:
    """Write those of an experiment that are not there yet; one writer at a time."""
    new = {one.id: one for one in parts}
    ids = sorted(new)
    for first in range(0, len(ids), _AT_ONCE):
        there = set(connection.execute(_THERE, {"ids": ids[first : first + _AT_ONCE]}).scalars())
        rows = [new[one] for one in ids[first : first + _AT_ONCE] if one not in there]
        if rows:
            values = [{"id": row.id, "experiment": experiment, "size": row.size, "value": row.value} for row in rows]
            connection.execute(_ADD, values)


def read(connection: Connection, ids: Collection[str]) -> dict[str, Part]:
    """Those of these ids, by id."""
    if not ids:
        return {}
    rows = connection.execute(_READ, {"ids": sorted(ids)})
    return {row.id: Part(row.id, row.size, row.value) for row in rows}

"""The index of what hosts offer: written when a heartbeat says something new, read a page at a time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, delete, func, insert, select, tuple_, update

from fedproc.central.db.repositories import dataset_columns
from fedproc.central.db.schema import dataset_terms, datasets, hosts
from fedproc.contract.wire.datasets import OfferedDataset
from fedproc.contract.wire.messages import Heartbeat

MOST_TERMS = 5_000
"""of one dataset; columns beyond them are not found by their names"""
_AT_ONCE = 500
_LARGEST = 2**63 - 1
_TERMS = dataset_terms.c
_SETS = datasets.c
_VALUES = ("version", "label", "description", "files", "size", "catalogue")


@dataclass(frozen=True)
class Wanted:
    """Which datasets are listed: those with all ``terms`` (:func:`term`) and every word of ``text`` in id, label or
    description, of ``host`` alone if that is given, and of one entry in a ``catalogue``."""

    host: str | None = None
    terms: Sequence[str] = field(default_factory=tuple)
    text: str | None = None
    catalogue: str | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        """What their rows have in common."""
        found: list[ColumnElement[bool]] = [hosts.c.active]
        if self.host is not None:
            found.append(_SETS.host == self.host)
        if self.catalogue is not None:
            found.append(_SETS.catalogue == self.catalogue)
        found += [_has(each) for each in dict.fromkeys(self.terms[1:])]
        place = _SETS.host + ":" + _SETS.id + " " + _SETS.label + " " + _SETS.description
        return found + [place.icontains(word, autoescape=True) for word in (self.text or "").split()]


def term(kind: str, value: str) -> str:
    """How a value is kept, and asked for: ``modality=ct``."""
    return f"{kind}={value.casefold()}".replace("\x00", "")


def page(connection: Connection, wanted: Wanted, after: str | None, most: int | None) -> Sequence[Row[Any]]:
    """By host and id, from behind ``after`` (``HOST:id``) on; each with ``heard`` of its host."""
    query, host, name = select(datasets, hosts.c.heard), _SETS.host, _SETS.id
    if wanted.terms:  # its index has the order of the pages: whatever else there is is not read
        query, host, name = query.select_from(dataset_terms), _TERMS.host, _TERMS.dataset
    query = _joined(query, wanted)
    if after is not None:
        query = query.where(tuple_(host, name) > tuple_(*after.split(":", 1)))
    return connection.execute(query.order_by(host, name).limit(most)).all()


def _joined(query: Select[Any], wanted: Wanted) -> Select[Any]:
    """With the first term in front of all."""
    if wanted.terms:
        query = query.join(datasets, and_(_SETS.host == _TERMS.host, _SETS.id == _TERMS.dataset))
        query = query.where(_TERMS.term == wanted.terms[0])
    return query.join(hosts, hosts.c.id == _SETS.host).where(*wanted.conditions())


def count(connection: Connection, wanted: Wanted) -> int:
    """How many there are in all."""
    query = select(func.count()).select_from(dataset_terms if wanted.terms else datasets)
    return int(connection.execute(_joined(query, wanted)).scalar_one())


def one(connection: Connection, host: str, dataset: str) -> Row[Any] | None:
    """One that an active host offers."""
    query = select(datasets, hosts.c.heard).join(hosts, hosts.c.id == _SETS.host)
    wanted = (_SETS.host == host, _SETS.id == dataset, hosts.c.active)
    return connection.execute(query.where(*wanted)).one_or_none()


def ids_of(connection: Connection, host: str) -> list[str]:
    """The ids of all that a host offers."""
    return list(connection.execute(select(_SETS.id).where(_SETS.host == host).order_by(_SETS.id)).scalars())


def take(connection: Connection, heartbeat: Heartbeat, known: str | None) -> None:
    """Write what a heartbeat says of datasets, which is nothing new in most; ``known``: see :func:`offer`."""
    offer(connection, heartbeat.host, heartbeat.datasets, known)
    if heartbeat.columns is None:
        return
    page, versions = heartbeat.columns, {dataset.id: dataset.version for dataset in heartbeat.datasets}
    if dataset_columns.keep(connection, heartbeat.host, page, list(versions)):
        describe(connection, heartbeat.host, page.dataset, versions[page.dataset])


def offer(connection: Connection, host: str, offered: Sequence[OfferedDataset], known: str | None) -> None:
    """Write what the host offers now, if it is another than the one with the digest ``known`` (``hosts.offered``)."""
    entries = {entry.id: _row(host, entry) for entry in offered}
    digest = hashlib.sha256(json.dumps(list(entries.values())).encode()).hexdigest()
    if digest == known:
        return
    # known is None once, after the upgrade to a release with the index: then what was told before is described, too
    kept = {row.id: row._asdict() for row in connection.execute(select(datasets).where(_SETS.host == host))}
    _forget(connection, host, kept.keys() - entries.keys())
    if new := [row for name, row in entries.items() if name not in kept]:
        connection.execute(insert(datasets), new)
    for name, row in entries.items():
        if name in kept and kept[name] != row:
            connection.execute(update(datasets).where(_SETS.host == host, _SETS.id == name).values(**row))
    changed = {name for name in entries.keys() & kept.keys() if kept[name]["version"] != entries[name]["version"]}
    described = dataset_columns.datasets_of(connection, host) & entries.keys()
    for name in sorted(changed | (described if known is None else described - kept.keys())):
        describe(connection, host, name, entries[name]["version"])
    connection.execute(update(hosts).where(hosts.c.id == host).values(offered=digest))


def describe(connection: Connection, host: str, dataset: str, version: str) -> None:
    """Write the terms of one version, by what has come of its columns and images."""
    pages = dataset_columns.of_dataset(connection, host, dataset, version)
    terms = sorted(_terms_of(pages))[:MOST_TERMS]
    connection.execute(delete(dataset_terms).where(_TERMS.host == host, _TERMS.dataset == dataset))
    if terms:
        rows = [{"term": each, "host": host, "dataset": dataset} for each in terms]
        connection.execute(insert(dataset_terms), rows)


def _row(host: str, entry: OfferedDataset) -> dict[str, Any]:
    """As a database takes it: PostgreSQL has no NUL in texts, and no integer above 64 bits."""
    values = entry.model_dump(mode="json", include=set(_VALUES))
    return {"host": host, "id": entry.id, **{name: _plain(value) for name, value in values.items()}}


def _plain(value: str | int | None) -> str | int | None:
    if isinstance(value, str):
        return value.replace("\x00", "\N{REPLACEMENT CHARACTER}")
    return value if value is None else max(min(value, _LARGEST), 0)


def _forget(connection: Connection, host: str, gone: Iterable[str]) -> None:
    names = sorted(gone)
    for start in range(0, len(names), _AT_ONCE):
        some = names[start : start + _AT_ONCE]
        connection.execute(delete(dataset_terms).where(_TERMS.host == host, _TERMS.dataset.in_(some)))
        connection.execute(delete(datasets).where(_SETS.host == host, _SETS.id.in_(some)))


def _terms_of(pages: Sequence[Row[Any]]) -> set[str]:
    images = [each.imaging for each in pages if each.imaging is not None]
    columns = {term("column", column["name"]) for each in pages for column in each.columns}
    kinds = {term("kind", "tables")} if columns else set()
    kinds |= {term("kind", "images")} if images else set()
    values = {
        term(name, value)
        for imaging in images
        for name in ("modality", "body_part", "manufacturer")
        for value in imaging.get(name, {}).get("persons", {})
    }
    return kinds | values | columns


def _has(wanted: str) -> ColumnElement[bool]:
    other = dataset_terms.alias()
    same = (other.c.term == wanted, other.c.host == _SETS.host, other.c.dataset == _SETS.id)
    return select(other.c.term).where(*same).exists()

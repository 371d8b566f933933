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
_VALUES = ("version", "label", "description", "files", "size", "catalogue", "kinds", "title", "creators")
SORTED_BY = ("persons", "files", "size")
MOST_FILTERS = 100
"""values of one filter that are told, those of the most datasets first"""


@dataclass(frozen=True)
class Wanted:
    """Which datasets are listed: those with all ``terms`` (:func:`term`) and every word of ``text`` in id, label or
    description, of ``host`` alone if that is given, of one entry in a ``catalogue``, with images of at least so many
    ``persons``, and at a host that was heard of since ``heard_since`` (seconds since 1970); ``ids``
    (``HOST:id``) alone if any are given."""

    host: str | None = None
    terms: Sequence[str] = field(default_factory=tuple)
    text: str | None = None
    catalogue: str | None = None
    persons: int | None = None
    heard_since: float | None = None
    ids: Sequence[str] = ()

    def conditions(self) -> list[ColumnElement[bool]]:
        """What their rows have in common."""
        found: list[ColumnElement[bool]] = [hosts.c.active]
        if self.host is not None:
            found.append(_SETS.host == self.host)
        if self.catalogue is not None:
            found.append(_SETS.catalogue == self.catalogue)
        if self.persons is not None:
            found.append(_SETS.persons >= self.persons)
        if self.ids:
            found.append(tuple_(_SETS.host, _SETS.id).in_([tuple(each.split(":", 1)) for each in self.ids]))
        if self.heard_since is not None:
            found.append(hosts.c.heard > self.heard_since)
        others = set(self.terms[1:]) - set(self.terms[:1])
        found += [_has_all(others)] if others else []
        place = _SETS.host + ":" + _SETS.id + " " + _SETS.label + " " + _SETS.description
        return found + [place.icontains(word, autoescape=True) for word in terms_of_text(self.text or "")]


def terms_of_text(text: str) -> list[str]:
    """Those that are looked for, each once."""
    return list(dict.fromkeys(text.casefold().split()))


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


def sorted_page(
    connection: Connection, wanted: Wanted, sort: str, offset: int, most: int | None
) -> tuple[Sequence[Row[Any]], int]:
    """In the order of ``host`` or one of SORTED_BY, downwards if it begins with ``-``; equal ones by host and id. And
    how many there are in all. Only keys are looked at, in one pass unless an index has their order."""
    is_sorted = sort.removeprefix("-") != "host"
    keys = select(_SETS.host, _SETS.id, *([func.count().over().label("total")] if is_sorted else []))
    keys = _joined(keys.select_from(dataset_terms if wanted.terms else datasets), wanted)
    found = connection.execute(keys.order_by(*_order(sort)).offset(offset).limit(most)).all()
    rows = {(row.host, row.id): row for part in _parts(found) for row in _of_keys(connection, part)}
    total = found[0].total if found and is_sorted else count(connection, wanted)
    return [rows[key.host, key.id] for key in found if (key.host, key.id) in rows], total


def _order(sort: str) -> list[ColumnElement[Any]]:
    name, down = sort.removeprefix("-"), sort.startswith("-")
    if name == "host":
        return [_SETS.host.desc(), _SETS.id.desc()] if down else [_SETS.host, _SETS.id]
    return [(_SETS[name].desc() if down else _SETS[name].asc()).nulls_last(), _SETS.host, _SETS.id]


def _of_keys(connection: Connection, keys: Sequence[Row[Any]]) -> Sequence[Row[Any]]:
    wanted = tuple_(_SETS.host, _SETS.id).in_([(key.host, key.id) for key in keys])
    query = select(datasets, hosts.c.heard).join(hosts, hosts.c.id == _SETS.host)
    return connection.execute(query.where(wanted)).all()


def _parts(found: Sequence[Row[Any]]) -> Iterable[Sequence[Row[Any]]]:
    return (found[start : start + _AT_ONCE] for start in range(0, len(found), _AT_ONCE))


def filters(connection: Connection) -> dict[str, list[tuple[str, int]]]:
    """The values by which datasets of active hosts can be chosen, each with their number: by ``host``, ``modality``
    and ``body_part``; of each kind those of the most datasets, and no more than MOST_FILTERS, but for hosts."""
    number = func.count()
    by_host = select(_SETS.host, number).join(hosts, hosts.c.id == _SETS.host).where(hosts.c.active)
    found = {
        "host": [(row[0], row[1]) for row in connection.execute(by_host.group_by(_SETS.host).order_by(_SETS.host))]
    }
    for kind in ("modality", "body_part"):
        begins = and_(_TERMS.term > f"{kind}=", _TERMS.term < f"{kind}>")
        query = select(_TERMS.term, number).join(hosts, hosts.c.id == _TERMS.host).where(begins, hosts.c.active)
        query = query.group_by(_TERMS.term).order_by(number.desc(), _TERMS.term).limit(MOST_FILTERS)
        found[kind] = [(row[0].partition("=")[2].upper(), row[1]) for row in connection.execute(query)]
    return found


def versions(connection: Connection, wanted: Iterable[str] | None = None) -> dict[str, dict[str, str]]:
    """What the hosts offer: host, then the versions by id; of the ``wanted`` hosts, or of all."""
    found: dict[str, dict[str, str]] = {}
    query = select(_SETS.host, _SETS.id, _SETS.version).order_by(_SETS.host, _SETS.id)
    if wanted is not None:
        query = query.where(_SETS.host.in_(sorted(wanted)))
    for row in connection.execute(query):
        found.setdefault(row.host, {})[row.id] = row.version
    return found


def labels(connection: Connection, wanted: Iterable[str]) -> dict[tuple[str, str], str]:
    """What the ``wanted`` hosts themselves call the versions that they offer, by host and id."""
    query = select(_SETS.host, _SETS.id, _SETS.label).where(_SETS.host.in_(sorted(wanted)))
    return {(row.host, row.id): row.label for row in connection.execute(query)}


def kinds(connection: Connection, wanted: Iterable[str]) -> dict[str, dict[str, list[str] | None]]:
    """What the datasets of the ``wanted`` hosts hold, by host and id; None where the host does not say it."""
    found: dict[str, dict[str, list[str] | None]] = {}
    query = select(_SETS.host, _SETS.id, _SETS.kinds).where(_SETS.host.in_(sorted(wanted)))
    for row in connection.execute(query):
        found.setdefault(row.host, {})[row.id] = row.kinds
    return found


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
    own = select(*(_SETS[name] for name in ("host", "id", *_VALUES))).where(_SETS.host == host)
    kept = {row.id: row._asdict() for row in connection.execute(own)}
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
    shown = update(datasets).where(_SETS.host == host, _SETS.id == dataset).values(**_told(pages))
    connection.execute(shown)
    terms = sorted(_terms_of(pages))[:MOST_TERMS]
    connection.execute(delete(dataset_terms).where(_TERMS.host == host, _TERMS.dataset == dataset))
    if terms:
        rows = [{"term": each, "host": host, "dataset": dataset} for each in terms]
        connection.execute(insert(dataset_terms), rows)


def _row(host: str, entry: OfferedDataset) -> dict[str, Any]:
    """As a database takes it: PostgreSQL has no NUL in texts, and no integer above 64 bits."""
    values = entry.model_dump(mode="json", include=set(_VALUES))
    return {"host": host, "id": entry.id, **{name: _plain(value) for name, value in values.items()}}


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(each) for each in value]
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


def _told(pages: Sequence[Row[Any]]) -> dict[str, Any]:
    """What a list shows of its images."""
    imaging = next((each.imaging for each in pages if each.imaging is not None), None) or {}
    values = {name: sorted(imaging.get(name, {}).get("persons", {})) or None for name in ("modality", "body_part")}
    return {"persons": _plain(imaging.get("persons")), **values}


def _has_all(wanted: set[str]) -> ColumnElement[bool]:
    """One look at the terms together: a join for each would take the planner seconds."""
    other = dataset_terms.alias()
    found = select(other.c.host, other.c.dataset).where(other.c.term.in_(sorted(wanted)))
    found = found.group_by(other.c.host, other.c.dataset).having(func.count() == len(wanted))
    return tuple_(_SETS.host, _SETS.id).in_(found)

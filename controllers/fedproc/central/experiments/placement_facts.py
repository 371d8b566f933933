"""What placement has to know of a host, from the database."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, Row

from fedproc.central.db.repositories import dataset_columns, datasets, hosts
from fedproc.central.experiments.placement import HostFacts


def facts_of(connection: Connection, ids: Iterable[str]) -> dict[str, HostFacts]:
    """Of each of these hosts that is enrolled; the columns of its datasets are read if they are asked for, within the
    same transaction."""
    rows = hosts.named(connection, ids)
    offered = datasets.versions(connection, [row.id for row in rows])
    kinds = datasets.kinds(connection, [row.id for row in rows])
    return {row.id: _facts(connection, row, offered.get(row.id, {}), kinds.get(row.id, {})) for row in rows}


def _facts(
    connection: Connection, row: Row[Any], offered: Mapping[str, str], kinds: Mapping[str, list[str] | None]
) -> HostFacts:
    def columns(dataset: str) -> Mapping[str, str] | None:
        version = offered.get(dataset)
        return None if version is None else dataset_columns.types_in(connection, row.id, dataset, version)

    known = None if row.heard is None else offered
    return HostFacts(row.id, row.active, frozenset(row.roles), known, row.is_accepted, columns,
                     bool((row.heartbeat or {}).get("ahead")), kinds)  # fmt: skip

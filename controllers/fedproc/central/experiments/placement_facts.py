"""What placement has to know of a host, from the database."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row

from fedproc.central.db.repositories import dataset_columns
from fedproc.central.experiments.placement import HostFacts


def facts_of(connection: Connection, row: Row[Any]) -> HostFacts:
    """Those of one host; the columns of its datasets are read if they are asked for, within the same transaction."""
    offered = None if row.heartbeat is None else {d["id"]: d["version"] for d in row.heartbeat.get("datasets", [])}

    def columns(dataset: str) -> frozenset[str] | None:
        version = (offered or {}).get(dataset)
        return None if version is None else dataset_columns.names_in(connection, row.id, dataset, version)

    return HostFacts(row.id, row.active, frozenset(row.roles), offered, row.is_accepted, columns,
                     bool((row.heartbeat or {}).get("ahead")))  # fmt: skip

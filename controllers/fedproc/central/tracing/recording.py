"""Which traces follow from what a host reports, written in the transaction that takes the report in."""

from __future__ import annotations

from typing import Any
from uuid import NAMESPACE_OID, uuid5

from sqlalchemy import Connection

from fedproc.central.db.repositories import traces
from fedproc.contract.wire.messages import Snapshot

USED, RELEASED = "use", "release"


def key_of(kind: str, job: str) -> str:
    """By which a service tells a trace that comes again: the same for each attempt."""
    return str(uuid5(NAMESPACE_OID, f"fedproc/{kind}/{job}"))


def trace(connection: Connection, snapshot: Snapshot, ended: bool, now: float) -> None:
    """What this report is the first to say: that a job began to run with its datasets, that results of it came."""
    if "running" in snapshot.times:
        _write(connection, USED, snapshot, {}, now)
    if ended and snapshot.outputs:
        files = [{"output": file.output, "sha256": file.sha256, "size": file.size} for file in snapshot.outputs]
        _write(connection, RELEASED, snapshot, {"results": files}, now)


def _write(connection: Connection, kind: str, snapshot: Snapshot, more: dict[str, Any], now: float) -> None:
    key = key_of(kind, snapshot.job)
    if traces.is_there(connection, key):
        return
    facts = traces.facts_of(connection, snapshot.job)
    if facts is None or not facts["datasets"]:
        return
    owner = facts.pop("owner")
    traces.add(connection, key=key, kind=kind, experiment=snapshot.experiment, owner=owner, body=facts | more, now=now)

"""Dead letters: messages that could not be read, with the reason, of each host no more than a bounded number."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from joserfc.jwk import ECKey
from sqlalchemy import ColumnElement, Connection, and_, delete, func, insert, select, update

from fedproc.central.db.schema import dead_letters, jobs
from fedproc.central.experiments.ending import end_job
from fedproc.common.errors import UnreadableError
from fedproc.contract.states import JobState
from fedproc.contract.wire import jws
from fedproc.contract.wire.messages import DeadLetterReason, Envelope

Keys = Mapping[str, ECKey]
"""the centre's dispatch keys, by their thumbprint"""
KEPT = 1_000
"""of each host, the latest; what a host says again and again does not fill the database"""
_BODY = 65_536
_LONGEST_TEXT = 4_096
_UNREADABLE = "unreadable"
_UNEXPLAINED = "unreadable.unexplained"
_READ: tuple[Any, ...] = (jobs.c.id, jobs.c.experiment, jobs.c.host, jobs.c.task, jobs.c.state, jobs.c.snapshot)


def keep(connection: Connection, host: str, raw: bytes, error: UnreadableError, now: float) -> None:
    """Keep a message of a host's events queue that is not ingested, with the reason."""
    row = {"host": host, "queue": f"events.{host}", "code": error.code, "reason": error.message}
    _insert(connection, {**row, "time": now, "sha256": hashlib.sha256(raw).hexdigest(), "body": raw[:_BODY]})


def explain(connection: Connection, explanation: DeadLetterReason, now: float) -> None:
    """The reason may come before or after the dead letter itself; whichever comes second finds the first."""
    same = _same_message(explanation.queue, explanation.sha256)
    values = {"code": printable(explanation.code), "reason": printable(explanation.reason), "host": explanation.host}
    waiting = update(dead_letters).where(same, dead_letters.c.code == _UNEXPLAINED)
    if connection.execute(waiting.values(**values)).rowcount == 0:
        _announce(connection, explanation, values, now)
    mine = (jobs.c.host == explanation.host) & (jobs.c.code == _UNREADABLE)
    ended = jobs.c.id.in_(select(dead_letters.c.job).where(same)) & mine
    connection.execute(update(jobs).where(ended).values(reason=_could_not_read(explanation.host, explanation.reason)))


def _announce(connection: Connection, explanation: DeadLetterReason, values: dict[str, Any], now: float) -> None:
    same = _same_message(explanation.queue, explanation.sha256)
    if connection.execute(select(dead_letters.c.id).where(same).limit(1)).first() is None:
        row = {"time": now, "queue": explanation.queue, "sha256": explanation.sha256, "body": b"", **values}
        _insert(connection, row)


def ingest_dead_letters(connection: Connection, raws: Sequence[tuple[str, bytes]], keys: Keys, now: float) -> set[str]:
    """Keep what hosts dead-lettered: (queue, bytes) each. A job of ours that can never be read ends as ``error``.

    Returns the experiments that changed.
    """
    changed: set[str] = set()
    for queue, raw in raws:
        job = _our_job(raw, keys)
        digest = hashlib.sha256(raw).hexdigest()
        row = connection.execute(select(*_READ).where(jobs.c.id == job)).one_or_none() if job else None
        _keep_message(connection, {"time": now, "queue": queue, "job": job, "body": raw[:_BODY], "sha256": digest})
        if row is not None and row.snapshot is None and row.state == JobState.dispatched:
            why = connection.execute(select(dead_letters.c.reason).where(_same_message(queue, digest))).scalar()
            end_job(connection, row, JobState.error, _UNREADABLE, _could_not_read(row.host, why), now)
            changed.add(row.experiment)
    return changed


def printable(text: str | None) -> str | None:
    """As it is kept: PostgreSQL has no NUL in texts, and a tool's last words may have one; nor are they without end."""
    return None if text is None else text[:_LONGEST_TEXT].replace("\x00", "\N{REPLACEMENT CHARACTER}")


def _same_message(queue: str, digest: str) -> ColumnElement[bool]:
    return and_(dead_letters.c.queue == queue, dead_letters.c.sha256 == digest)


def _keep_message(connection: Connection, values: dict[str, Any]) -> None:
    """Complete the entry that a host's reason made, or make one; equal bytes are unreadable for an equal reason."""
    same = _same_message(values["queue"], values["sha256"])
    announced = update(dead_letters).where(same, func.length(dead_letters.c.body) == 0)
    if connection.execute(announced.values(**values)).rowcount:
        return
    columns = (dead_letters.c.host, dead_letters.c.code, dead_letters.c.reason)
    earlier = connection.execute(select(*columns).where(same).limit(1)).mappings().first()
    host = values["queue"].partition(".")[2] or None
    unexplained = {"host": host, "code": _UNEXPLAINED, "reason": "the host has not said why yet"}
    _insert(connection, {**values, **(dict(earlier) if earlier else unexplained)})


def _insert(connection: Connection, row: dict[str, Any]) -> None:
    connection.execute(insert(dead_letters).values(**row))
    own = dead_letters.c.host == row["host"]
    oldest = select(dead_letters.c.id).where(own).order_by(dead_letters.c.id.desc()).offset(KEPT).limit(1)
    connection.execute(delete(dead_letters).where(own, dead_letters.c.id <= oldest.scalar_subquery()))


def _could_not_read(host: str, why: str | None) -> str:
    return f"host {host} could not read its job: {why}"


def _our_job(raw: bytes, keys: Keys) -> str | None:
    """The job of these bytes, if a dispatch key signed them as a job; else nobody's."""
    try:
        payload = jws.verify(raw, keys, typ=jws.MESSAGE_TYP)
        envelope = Envelope.model_validate_json(payload)
    except (UnreadableError, ValueError):
        return None
    return str(envelope.body.get("job")) if envelope.type == "job" else None

"""Inputs that a user uploads for a job (D6.1 ``PUT /tasks/{task_id}/input``)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, Row

from fedproc.central.db.engine import serialized_transaction
from fedproc.central.db.repositories import experiments, files, tools
from fedproc.central.experiments.advance import advance
from fedproc.central.experiments.quotas import Quotas
from fedproc.central.files import discards
from fedproc.central.files.blobs import Blobs, Incoming
from fedproc.central.notify import Notifier
from fedproc.common.errors import ConflictError, InvalidInputError, StorageFullError
from fedproc.contract.ids import new_id
from fedproc.contract.tool.task import InputDecl, Task


@dataclass(frozen=True)
class Arrived:
    """An input as it came."""

    row: Row[Any]
    sha256: str
    media_type: str


class Inputs:
    """The inputs' entries and bytes; whoever waits for messages or events is woken when one is there."""

    def __init__(self, engine: Engine, blobs: Blobs, notifier: Notifier, quotas: Quotas) -> None:
        self._engine = engine
        self._blobs = blobs
        self._notifier = notifier
        self._quotas = quotas

    def expect(self, connection: Connection, job: Row[Any], name: str, now: float) -> Row[Any]:
        """The pending entry for an input of a queued job. One that was sent before stays until this is complete.

        Raises :class:`ConflictError` once the job's order is written, because the order names the files, and
        :class:`StorageFullError` where the owner has no room.
        """
        _still_queued(job)
        owner = experiments.find(connection, job.experiment, None).owner
        row = files.input_of(connection, job.id, name, "pending")
        self._quotas.check_room(connection, owner, 1, new=int(row is None))
        if row is not None:
            return row
        values = {
            "id": new_id("f"),
            "owner": owner,
            "path": name,
            "state": "pending",
            "size": 0,
            "sha256": "",
            "media_type": "application/octet-stream",
            "experiment": job.experiment,
            "job": job.id,
            "host": job.host,
            "task": job.task,
            "input": name,
            "created": now,
        }
        self._blobs.create(values["id"], 0)
        files.add(connection, values)
        return files.existing(connection, values["id"])

    def finish(self, arrived: Arrived, incoming: Incoming, record: Callable[[Connection], None], now: float) -> None:
        """The input is there: what was sent under its name before is replaced, and the job may go if it was the last.

        ``record`` is called in the transaction. Raises :class:`ConflictError` if the job was dispatched meanwhile, and
        :class:`StorageFullError`, with nothing kept, where the owner has no room for it.
        """
        incoming.sync()
        try:
            with serialized_transaction(self._engine) as connection:
                replaced = _replace(connection, arrived, incoming.size)
                discards.note(connection, replaced, now)
                self._quotas.check_kept(connection, arrived.row.owner, 0, new=0)
                advance(connection, arrived.row.experiment, now)
                record(connection)
        except StorageFullError:
            incoming.cut(0)
            raise
        discards.remove(self._engine, self._blobs, replaced, now)
        self._notifier.publish("outbox")
        self._notifier.publish("events")


def _still_queued(job: Row[Any]) -> None:
    if job.state != "queued" or "job" in job.told:
        how = job.state if job.state != "queued" else "about to be dispatched"
        raise ConflictError(
            f"job {job.id} is {how}: its inputs are fixed now; start a new experiment instead",
            code="conflict.dispatched",
        )


def _replace(connection: Connection, arrived: Arrived, size: int) -> list[str]:
    """Let the input that arrived count; the id of the one before it, whose entry is gone."""
    row = arrived.row
    job = experiments.locked_job(connection, row.job)
    _still_queued(job)
    before = files.input_of(connection, row.job, row.input, "complete")
    if before is not None:
        files.remove(connection, before.id)
    elif not declared_upload(tools.of_job(connection, job).task(job.task), row.input).optional:
        experiments.upload_arrived(connection, row.job)
    files.complete(connection, row.id, size=size, sha256=arrived.sha256, media_type=arrived.media_type)
    return [] if before is None else [str(before.id)]


def declared_upload(task: Task, name: str | None) -> InputDecl:
    """The declared upload of that name, or the only one.

    Raises :class:`InvalidInputError` that names those there are.
    """
    uploads = [entry for entry in task.inputs if entry.kind == "upload"]
    found = [entry for entry in uploads if name in {None, entry.name}]
    if len(found) == 1:
        return found[0]
    names = ", ".join(entry.name for entry in uploads) or "none"
    raise InvalidInputError(
        f"say with ?input=NAME which input this is; uploads that task {task.name} takes: {names}", code="input.unknown"
    )

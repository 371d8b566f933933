"""File entries that bytes are sent for by tus: outputs of a host's jobs, and files of a user."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, Engine, Row

from fedproc.central.auth.tokens import Caller
from fedproc.central.db.engine import read_transaction, write_transaction
from fedproc.central.db.repositories import experiments, files, tools
from fedproc.central.experiments.quotas import MB, Quotas
from fedproc.central.files.blobs import Blobs, Incoming
from fedproc.common.errors import ConflictError, ForbiddenError, InvalidInputError, NotFoundError, TooLargeError
from fedproc.contract.api.files import NewFile, NewUpload
from fedproc.contract.ids import new_id
from fedproc.contract.states import TERMINAL
from fedproc.contract.tool.task import OutputDecl, Task

_SHA256_OF_NOTHING = hashlib.sha256().hexdigest()
_MOST_FILES = 10_000
"""of one output of one job"""
_JWE_GROWTH, _JWE_HEADER = 1.4, 4096
"""An artefact is encrypted before it is sent; as compact JWE, which small ones are and all of the release before, it is
larger than the file that the tool wrote."""


class Uploads:
    """The entries of one database and the bytes in one store; a file may have ``largest_mb``.

    Whatever makes an entry or completes one raises :class:`StorageFullError` where its owner has no room for it.
    """

    def __init__(self, engine: Engine, blobs: Blobs, largest_mb: int, quotas: Quotas) -> None:
        self._engine = engine
        self._blobs = blobs
        self._largest_mb = largest_mb
        self._quotas = quotas

    def expect_output(self, connection: Connection, host: str, new: NewUpload, now: float) -> Row[Any]:
        """The entry for one output of one of the host's open jobs, a new one or that of an earlier attempt.

        Raises :class:`ForbiddenError` for another host's job, :class:`ConflictError` for an ended one or for other
        bytes than those that were sent already, :class:`InvalidInputError` for what the tool does not declare.
        """
        job = experiments.locked_job(connection, new.job)
        if job.host != host:
            raise ForbiddenError(f"job {new.job} is not one of {host}'s", code="forbidden.job")
        declared = _declared(tools.of_job(connection, job).task(job.task), new)
        row = files.output(connection, new.job, new.output, new.path, new.recipient)
        same = row is not None and (row.sha256, row.size) == (new.sha256, new.size)
        if row is not None and row.state == "complete":
            if same:
                return row
            raise ConflictError(f"output {new.output} ({new.path}) of {new.job} was sent already, with other bytes")
        if job.state in TERMINAL:
            raise ConflictError(f"job {new.job} has ended as {job.state}; nothing is taken in for it any more")
        if row is not None and same:
            return row
        _check_total(connection, new, declared, row)
        values = {
            **new.model_dump(exclude={"job"}),
            "owner": experiments.find(connection, job.experiment, None).owner,
            "experiment": job.experiment,
            "job": job.id,
            "host": host,
            "task": job.task,
            "disclosure": declared.disclosure.value,
        }
        return self._expect(connection, row, values, now)

    def expect_file(self, connection: Connection, caller: Caller, path: str, new: NewFile, now: float) -> Row[Any]:
        """The caller's own entry at ``path``, a new one or that of an earlier attempt with the same bytes.

        Raises :class:`ConflictError` where another file stands there already.
        """
        row = files.by_path(connection, caller.sub, path)
        if row is not None and (row.sha256, row.size) == (new.sha256, new.size):
            return row
        if row is not None and row.state == "complete":
            raise ConflictError(
                "another file of yours stands at this path: choose another, or delete that one first by"
                f" fedproc data delete {row.id}"
            )
        return self._expect(connection, row, {**new.model_dump(), "owner": caller.sub, "path": path}, now)

    def _expect(self, connection: Connection, row: Row[Any] | None, values: dict[str, Any], now: float) -> Row[Any]:
        self._check_size(values["size"])
        if not values["size"] and values["sha256"] != _SHA256_OF_NOTHING:
            raise InvalidInputError(f"a file of no bytes has the sha256 {_SHA256_OF_NOTHING}", code="file.sha256")
        announced = 0 if row is None else row.size
        self._quotas.check_room(connection, values["owner"], values["size"] - announced, new=int(row is None))
        if row is not None:
            with self._blobs.locked(row.id) as incoming:
                incoming.cut(0)
            files.describe_again(connection, row.id, values)
            return files.existing(connection, row.id)
        file = new_id("f")
        self._blobs.create(file, values["size"])
        files.add(connection, {**values, "id": file, "state": "pending", "created": now})
        return files.existing(connection, file)

    def _check_size(self, size: int) -> None:
        if size > self._largest_mb * MB:
            raise TooLargeError(f"files may have {self._largest_mb} MB here; this has {size} bytes")

    def finish(self, row: Row[Any], incoming: Incoming, record: Callable[[Connection], None]) -> None:
        """All bytes are there: check them against the entry and make it complete.

        ``record`` is called in the transaction. Bytes that are not the announced ones are dropped: raises
        :class:`InvalidInputError` (code ``file.sha256``).
        """
        actual = incoming.sha256()
        if actual != row.sha256:
            incoming.cut(0)
            raise InvalidInputError(
                f"the bytes have sha256 {actual}, announced was {row.sha256}; they were dropped: "
                "send them again from 0",
                code="file.sha256",
            )
        incoming.sync()
        with write_transaction(self._engine) as connection:
            new = row.state == "pending"
            self._quotas.check_kept(connection, row.owner, row.size if new else 0, new=int(new))
            if files.complete(connection, row.id):
                record(connection)

    def finish_if_empty(self, row: Row[Any]) -> Row[Any]:
        """A file of no bytes is complete as soon as it is made; the entry as it then is."""
        if row.size or row.state == "complete":
            return row
        with self._blobs.locked(row.id) as incoming:
            self.finish(row, incoming, lambda _: None)
        with read_transaction(self._engine) as connection:
            return files.existing(connection, row.id)


def _declared(task: Task, new: NewUpload) -> OutputDecl:
    declared = task.output(new.output)
    if declared is None:
        raise InvalidInputError(f"task {task.name} declares no output {new.output!r}", code="output.unknown")
    inside = new.path.startswith(declared.path.rstrip("/") + "/") if declared.folder else new.path == declared.path
    if not inside:
        raise InvalidInputError(
            f"output {new.output} is declared at {declared.path!r}, not {new.path!r}", code="output.path"
        )
    if (new.recipient is not None) != bool(declared.artefact_for):
        raise InvalidInputError(
            f"output {new.output}: artefacts, and only they, have a recipient", code="output.recipient"
        )
    return declared


def _check_total(connection: Connection, new: NewUpload, declared: OutputDecl, replaced: Row[Any] | None) -> None:
    """All files of an output together may have what the tool declares, and they are not without end in number."""
    count, size = files.announced(connection, new.job, new.output, new.recipient)
    size += new.size - (replaced.size if replaced is not None else 0)
    most = declared.max_mb * MB
    if size > (most * _JWE_GROWTH + _JWE_HEADER if new.recipient or new.plain_sha256 else most):
        raise TooLargeError(f"output {new.output} may have {declared.max_mb} MB in all; with this it has {size} bytes")
    if count >= _MOST_FILES and replaced is None:
        raise TooLargeError(f"output {new.output} has {count} files; pack them into fewer")


def find_for(connection: Connection, file: str, caller: Caller) -> Row[Any]:
    """An entry whose bytes the caller may send: its own, or an output of its own job. Raises :class:`NotFoundError`."""
    row = files.one(connection, file)
    if row is not None:
        if caller.host is not None and row.host == caller.host and row.output is not None:
            return row
        if caller.host is None and row.owner == caller.sub and row.job is None:
            return row
    if caller.host is not None:
        raise NotFoundError(f"there is no output {file} of a job of {caller.host}: announce it first")
    raise NotFoundError(
        f"there is no file {file} that you uploaded; fedproc data files lists yours, and a result goes with its"
        " experiment (fedproc experiments delete)"
    )

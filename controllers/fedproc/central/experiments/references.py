"""What an experiment's messages to hosts refer to: files that stand ready, the other ends of connections, keys."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, select

from fedproc.central.db.schema import files, hosts
from fedproc.central.experiments.gangs import partners
from fedproc.contract.ids import dns_label
from fedproc.contract.states import TERMINAL, JobState
from fedproc.contract.tool.task import InputDecl, Task
from fedproc.contract.tool.tool import Tool
from fedproc.contract.wire.messages import FileRef, Peer
from fedproc.contract.wire.routing import server_name


class References:
    """Those of one experiment, whose jobs are ``rows``."""

    def __init__(self, connection: Connection, tool: Tool, rows: Sequence[Row[Any]]) -> None:
        self._connection = connection
        self._tool = tool
        self._rows = rows

    # -- files -----------------------------------------------------------------------------------

    def inputs(self, row: Row[Any]) -> Iterator[FileRef]:
        """The files that a job takes: uploads for it, and outputs of jobs that have succeeded."""
        for entry in self._tool.task(row.task).inputs:
            if entry.kind == "upload":
                yield from self._refs((files.c.job == row.id) & (files.c.input == entry.name), entry.name)
            elif entry.kind == "output":
                yield from self._refs(self._outputs(entry, row.host), entry.name)

    def _outputs(self, entry: InputDecl, host: str) -> ColumnElement[bool]:
        given = [other.id for other in self._rows if other.task == entry.task and other.state == JobState.succeeded]
        readable = files.c.recipient.is_(None) | (files.c.recipient == host)
        named = files.c.output == entry.output if entry.output else files.c.output.is_not(None)
        return files.c.job.in_(given) & readable & named

    def artefacts(self, row: Row[Any]) -> Iterator[FileRef]:
        """What the tasks of its gang made for a job: named by their last snapshots, encrypted to its host."""
        task = self._tool.task(row.task)
        given = partners(task) | {other.name for other in self._tool.tasks if task.name in partners(other)}
        ids = [other.id for other in self._rows if other.task in given]
        yield from self._refs(files.c.job.in_(ids) & (files.c.recipient == row.host), None)

    def _refs(self, wanted: ColumnElement[bool], entry: str | None) -> Iterator[FileRef]:
        query = select(files).where(wanted, files.c.state == "complete").order_by(files.c.id)
        yield from (_ref(file, entry) for file in self._connection.execute(query))

    # -- hosts -----------------------------------------------------------------------------------

    def recipients(self, row: Row[Any]) -> dict[str, Any]:
        """The public keys of the hosts that get a job's artefacts."""
        wanted = {name for output in self._tool.task(row.task).outputs for name in output.artefact_for}
        if not wanted:
            return {}
        ids = {other.host for other in self._rows if other.task in wanted}
        query = select(hosts.c.id, hosts.c.public_key).where(hosts.c.id.in_(ids))
        return {found.id: found.public_key for found in self._connection.execute(query)}

    def peers(self, row: Row[Any]) -> Iterator[Peer]:
        """The other ends of a job's connections: those that it dials, then those that it admits."""
        task = self._tool.task(row.task)
        yield from (self._peer_to_dial(other) for other in self._rows if _connects(task, other.task))
        for other in self._rows:
            if other.state not in TERMINAL and _connects(self._tool.task(other.task), row.task):
                yield Peer(task=other.task, job=other.id, host=other.host, key=self._keys.get(other.host))

    def _peer_to_dial(self, other: Row[Any]) -> Peer:
        query = select(hosts.c.address, hosts.c.domain).where(hosts.c.id == other.host)
        where = self._connection.execute(query).one()
        ports = self._tool.task(other.task).ports
        names = {port.name: server_name(port.port, other.id, dns_label(other.host), where.domain) for port in ports}
        return Peer(
            task=other.task,
            job=other.id,
            host=other.host,
            address=where.address,
            server_names=names,
            key=self._keys.get(other.host),
        )

    @cached_property
    def _keys(self) -> dict[str, str | None]:
        """Thumbprints of the keys that the experiment's hosts were enrolled with."""
        query = select(hosts.c.id, hosts.c.public_key).where(hosts.c.id.in_({row.host for row in self._rows}))
        return {found.id: found.public_key.get("kid") for found in self._connection.execute(query)}


def _connects(task: Task, other: str) -> bool:
    return any(connection.task == other for connection in task.connections)


def _ref(file: Row[Any], entry: str | None) -> FileRef:
    place = file.path if file.job is not None and file.input is not None else f"{file.host}/{file.path}"
    if entry is None:
        place = f"{file.task}/{file.output}/{file.host}/{file.path}"  # jobs of several hosts may make the same one
    return FileRef(
        file=file.id,
        sha256=file.sha256,
        size=file.size,
        media_type=file.media_type,
        input=entry,
        host=file.host,
        task=file.task,
        output=file.output,
        path=place,
        encrypted_for=file.recipient,
    )

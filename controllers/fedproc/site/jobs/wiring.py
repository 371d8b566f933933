"""The declared connections of one job: what it may reach and who may reach it, and what of that is counted."""

from __future__ import annotations

from fedproc.common.errors import SystemFaultError
from fedproc.contract.tool.task import Task
from fedproc.contract.wire.messages import ConnectionUse, Peer, Start
from fedproc.site.connections.carrying import Meter
from fedproc.site.connections.hub import Connections, route_to
from fedproc.site.jobs import logged
from fedproc.site.jobs.record import JobRecord
from fedproc.site.jobs.services import Services
from fedproc.site.jobs.stage_in import forwards, ports
from fedproc.site.jobs.workspace import Workspace
from fedproc.site.jobs.writer import RecordWriter
from fedproc.site.policy.rules import ToolRule, connection_budget


class Wiring:
    """Opens the connections of one job; a meter of each goes to ``meters``."""

    def __init__(
        self,
        services: Services,
        record: JobRecord,
        workspace: Workspace,
        meters: list[Meter],
        writer: RecordWriter,
    ) -> None:
        self._hub = services.connections
        self._services = services
        self._record = record
        self._workspace = workspace
        self._meters = meters
        self._writer = writer

    async def open(self, task: Task, rule: ToolRule) -> None:
        """Open what the task declares, and nothing else. Raises :class:`SystemFaultError` if that cannot be."""
        if not (task.connections or task.ports):
            return
        if self._hub is None or self._record.start is None:
            raise SystemFaultError(
                "the task has connections, but this host or its order has none", code="connection.none"
            )
        start = self._record.start
        before = list(self._record.connections)
        dialled = [self._meter(before, rule, one.task, _peer_of(start, one.task)) for one in task.connections]
        admitted = [self._meter(before, rule, task.name, peer) for peer in start.peers if task.ports]
        for meter in dialled + admitted:
            await logged.note_connection(self._services, self._record, meter, self._writer.wait_for)
        self._meters += dialled + admitted  # before anything is saved, which saves their counts
        await self._forward(self._hub, task, start, dialled)
        if task.ports:
            sockets = {port.port: port.socket for port in ports(task, self._workspace)}
            self._hub.admit(self._record.job, sockets, admitted, self._writer.save)

    async def _forward(self, hub: Connections, task: Task, start: Start, meters: list[Meter]) -> None:
        ways = forwards(task, self._workspace, self._record)
        for declared, way, meter in zip(task.connections, ways, meters, strict=True):
            route = route_to(_peer_of(start, declared.task), declared.port)
            await hub.forward(self._record.job, way.socket, route, meter, self._writer.save)

    def _meter(self, before: list[ConnectionUse], rule: ToolRule, task: str, peer: Peer) -> Meter:
        """With what was counted before this daemon began: they are opened in the same order each time."""
        meter = Meter(task, peer.host, connection_budget(rule, task), peer.key)
        for use in before:
            if (use.task, use.host) == (task, peer.host):
                meter.sent, meter.received, meter.cut = use.sent, use.received, use.cut
                before.remove(use)
                break
        return meter


def _peer_of(start: Start, task: str) -> Peer:
    """Raises :class:`SystemFaultError` if there is none."""
    peer = next((peer for peer in start.peers if peer.task == task), None)
    if peer is None:
        raise SystemFaultError(f"the start message names no peer of task {task}", code="connection.peer")
    return peer

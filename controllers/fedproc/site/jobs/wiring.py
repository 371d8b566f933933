"""The declared connections of one job: what it may reach and who may reach it, and what of that is counted."""

from __future__ import annotations

from fedproc.common.errors import SystemFaultError
from fedproc.contract.tool.task import Task
from fedproc.contract.wire.messages import Peer, Start
from fedproc.site.connections.hub import Connections, Meter, route_to
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
        await self._forward(self._hub, task, rule, self._record.start)
        if task.ports:
            self._admit(self._hub, task, rule, self._record.start)

    async def _forward(self, hub: Connections, task: Task, rule: ToolRule, start: Start) -> None:
        for declared, way in zip(task.connections, forwards(task, self._workspace, self._record), strict=True):
            peer = next((peer for peer in start.peers if peer.task == declared.task), None)
            if peer is None:
                raise SystemFaultError(
                    f"the start message names no peer of task {declared.task}", code="connection.peer"
                )
            meter = self._meter(rule, declared.task, peer)
            route = route_to(peer, declared.port)
            await hub.forward(self._record.job, way.socket, route, meter, self._writer.save)

    def _admit(self, hub: Connections, task: Task, rule: ToolRule, start: Start) -> None:
        sockets = {port.port: port.socket for port in ports(task, self._workspace)}
        meters = [self._meter(rule, task.name, peer) for peer in start.peers]
        hub.admit(self._record.job, sockets, meters, self._writer.save)

    def _meter(self, rule: ToolRule, task: str, peer: Peer) -> Meter:
        meter = Meter(task, peer.host, connection_budget(rule, task), peer.key)
        self._meters.append(meter)
        return meter

"""The declared connections of one job: what it may reach and who may reach it, and what of that is counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fedproc.common.errors import SystemFaultError
from fedproc.common.tasks import stoppable
from fedproc.contract.tool.messages import MessageDecl
from fedproc.contract.tool.task import ConnectionDecl, Task
from fedproc.contract.tool.tool import Tool
from fedproc.contract.wire.messages import ConnectionUse, Peer, Start
from fedproc.site.connections.carrying import Limits, Meter
from fedproc.site.connections.http_messages import MessageError, Messages
from fedproc.site.connections.hub import Connections, route_to
from fedproc.site.jobs import logged
from fedproc.site.jobs.record import JobRecord
from fedproc.site.jobs.release.known_values import known_of
from fedproc.site.jobs.services import Services
from fedproc.site.jobs.stage_in import forwards, ports
from fedproc.site.jobs.workspace import Workspace
from fedproc.site.jobs.writer import RecordWriter
from fedproc.site.policy.connecting import most_rounds
from fedproc.site.policy.engine.messages import RefusedMessageError, checked
from fedproc.site.policy.policy_file import ToolRule, connection_budget


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

    async def open(self, task: Task, rule: ToolRule, tool: Tool) -> None:
        """Open what the task declares, and nothing else. Raises :class:`SystemFaultError` if that cannot be."""
        if not (task.connections or task.ports):
            return
        if self._hub is None or self._record.start is None:
            raise SystemFaultError(
                "the task has connections, but this host or its order has none", code="connection.none"
            )
        start = self._record.start
        before = list(self._record.connections)
        dialled = [self._dialled(before, rule, task, one, _peer_of(start, one.task)) for one in task.connections]
        admitted = _by_host([self._admitted(before, rule, tool, task, peer) for peer in start.peers if task.ports])
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

    def _dialled(
        self, before: list[ConnectionUse], rule: ToolRule, task: Task, declared: ConnectionDecl, peer: Peer
    ) -> Meter:
        traffic, rounds = declared.traffic, self._rounds(rule, declared.task, [declared])
        limits = Limits(traffic.sends_bytes, traffic.receives_bytes, rounds) if traffic else Limits(rounds=rounds)
        meter = self._meter(before, rule, declared.task, peer, limits)
        if traffic is not None and traffic.sends is not None:
            meter.messages = self._messages(traffic.sends, rule, task, peer)
        return meter

    def _messages(self, declared: MessageDecl, rule: ToolRule, task: Task, peer: Peer) -> Messages:
        """Looked into by this host's rules, with the floor of its policy."""
        known = known_of(self._services, self._record, task)
        floor = self._services.policy.terms(rule, task).floor

        async def check(body: bytes) -> bytes:
            try:
                return await stoppable(checked, declared, body, floor, known)
            except (RefusedMessageError, OSError) as error:
                raise MessageError(str(error)) from error

        return Messages(declared.path, declared.most_bytes, check, self._record.job, peer.host)

    def _admitted(self, before: list[ConnectionUse], rule: ToolRule, tool: Tool, task: Task, peer: Peer) -> Meter:
        """All connections of the peer's task with this one are counted together."""
        there = [
            one for each in tool.tasks if each.name == peer.task for one in each.connections if one.task == task.name
        ]
        traffic = [one.traffic for one in there if one.traffic]
        limits = Limits(rounds=self._rounds(rule, task.name, there))
        if there and len(traffic) == len(there):
            sent, received = sum(each.receives_bytes for each in traffic), sum(each.sends_bytes for each in traffic)
            limits = Limits(sent, received, limits.rounds)
        return replace(self._meter(before, rule, task.name, peer, limits), admitted=True)

    def _rounds(self, rule: ToolRule, task: str, declared: Sequence[ConnectionDecl]) -> int | None:
        traffic = [one.traffic.rounds if one.traffic else None for one in declared]
        parameters = self._record.order.parameters
        known = [each.limit(parameters) for each in traffic if each]
        most = [sum(known)] if known and len(known) == len(traffic) else []
        of_policy = most_rounds(rule.connections, task)
        return min([*most, *([of_policy] if of_policy is not None else [])], default=None)

    def _meter(self, before: list[ConnectionUse], rule: ToolRule, task: str, peer: Peer, limits: Limits) -> Meter:
        """With what was counted before this daemon began: they are opened in the same order each time."""
        meter = Meter(task, peer.host, connection_budget(rule, task), peer.key, limits=limits)
        for use in before:
            if (use.task, use.host) == (task, peer.host):
                meter.sent, meter.received, meter.cut, meter.rounds = use.sent, use.received, use.cut, use.rounds or 0
                before.remove(use)
                break
        return meter


def _by_host(meters: Sequence[Meter]) -> list[Meter]:
    """One for each host: which of its tasks a connection is of cannot be told, so that they may together what each may.

    What is counted of one counts for all.
    """
    found: dict[str, Meter] = {}
    for one in meters:
        if (other := found.get(one.host)) is None:
            found[one.host] = one
            continue
        found[one.host] = replace(
            other,
            budget=other.budget + one.budget,
            limits=other.limits.plus(one.limits),
            sent=other.sent + one.sent,
            received=other.received + one.received,
            rounds=other.rounds + one.rounds,
            cut=other.cut or one.cut,
        )
    return list(found.values())


def _peer_of(start: Start, task: str) -> Peer:
    """Raises :class:`SystemFaultError` if there is none."""
    peer = next((peer for peer in start.peers if peer.task == task), None)
    if peer is None:
        raise SystemFaultError(f"the start message names no peer of task {task}", code="connection.peer")
    return peer

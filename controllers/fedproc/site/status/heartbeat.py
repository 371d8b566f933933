"""The heartbeat: that the host lives, what it has and offers, and a digest of its open jobs."""

from __future__ import annotations

import asyncio
import contextlib
from importlib.metadata import version
from typing import Literal

from fedproc.common.errors import FedprocError, UnavailableError
from fedproc.common.log import get_logger
from fedproc.contract.times import now
from fedproc.contract.wire.jws import CENTRAL, seal
from fedproc.contract.wire.messages import Heartbeat, OfferedDataset
from fedproc.site.centre.broker import Broker
from fedproc.site.jobs.orchestrator import Orchestrator
from fedproc.site.jobs.services import Host
from fedproc.site.status.host_check import HostCheck

log = get_logger(__name__)


class HeartbeatSender:
    """Sends one heartbeat at connecting and then one every ``heartbeat_seconds``, and when it is rung for."""

    def __init__(self, host: Host, orchestrator: Orchestrator, broker: Broker, check: HostCheck) -> None:
        self._host = host
        self._orchestrator = orchestrator
        self._broker = broker
        self._check = check
        self._now = asyncio.Event()

    def ring(self) -> None:
        """What the host says of itself has changed: send it now."""
        self._now.set()

    async def run(self) -> None:
        """Send until cancelled; while the broker is away there is nothing to send to."""
        while True:
            await self._broker.connected.wait()
            self._now.clear()
            await self._orchestrator.probe_journal()
            try:
                message = await self._heartbeat()
                body = seal(message, self._host.identity.key, iss=message.host, aud=CENTRAL)
                await self._broker.publish("heartbeat", body)
            except UnavailableError as fault:
                log.warning("heartbeat.not_sent", reason=fault.message)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._now.wait(), self._host.settings.heartbeat_seconds)

    async def _heartbeat(self) -> Heartbeat:
        condition, text = self._condition()
        return Heartbeat(
            host=self._host.settings.host,
            epoch=self._host.journal.epoch,
            time=now(),
            interval=self._host.settings.heartbeat_seconds,
            software=version("fedproc"),
            condition=condition,
            condition_text=text,
            capacity=self._host.pool.capacity(),
            executors=(self._host.executor.name,),
            tools=self._host.policy.admitted(),
            tools_ready=await asyncio.to_thread(self._host.toolbox.ready),
            datasets=await self._datasets(),
            open_jobs=len(self._orchestrator.open_jobs()),
            open_jobs_digest=self._orchestrator.digest(),
            check=self._check.shown(),
        )

    def _condition(self) -> tuple[Literal["accepting", "holding", "stopped"], str]:
        if self._orchestrator.stopped:
            return "stopped", "the site stopped all work on this host"
        if self._orchestrator.held is not None:
            return "holding", self._orchestrator.held
        clock = self._host.identity.clock
        if not clock.trusted:
            return "holding", f"this host's clock is {clock.skew:.0f} s off; nothing starts until it is right"
        return "accepting", self._check.alarm

    async def _datasets(self) -> tuple[OfferedDataset, ...]:
        try:
            return await self._host.data.offers()
        except FedprocError as fault:
            log.error("datasets.unreadable", reason=fault.message)
            return ()

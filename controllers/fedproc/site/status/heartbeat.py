"""The heartbeat: that the host lives, what it has and offers, and a digest of its open jobs."""

from __future__ import annotations

import asyncio
import contextlib
from importlib.metadata import version
from typing import Literal

from fedproc.common.errors import FedprocError, TooLargeError, UnavailableError
from fedproc.common.log import get_logger
from fedproc.common.tlog.checkpoints import unverified
from fedproc.contract.times import now
from fedproc.contract.wire.datasets import OfferedDataset
from fedproc.contract.wire.jws import CENTRAL, seal
from fedproc.contract.wire.messages import Heartbeat
from fedproc.site.centre.broker import Broker
from fedproc.site.data.columns_offered import PageTurner
from fedproc.site.jobs.reconciliation import Reconciliation
from fedproc.site.jobs.release.earlier_releases import budgets
from fedproc.site.jobs.services import Services
from fedproc.site.status.host_check import HostCheck

log = get_logger(__name__)


class HeartbeatSender:
    """Sends one heartbeat at connecting and then one every ``heartbeat_seconds``, and when its signal is set."""

    def __init__(self, services: Services, reconciliation: Reconciliation, broker: Broker, check: HostCheck) -> None:
        self._services = services
        self._due = services.signals.heartbeat
        self._reconciliation = reconciliation
        self._broker = broker
        self._check = check
        self._columns = PageTurner()

    async def run(self) -> None:
        """Send until cancelled; while there is no broker there is nothing to send to."""
        while True:
            if not self._broker.connected.is_set():
                self._columns.again()
            await self._broker.connected.wait()
            self._due.clear()
            await self._services.holds.probe_journal()
            await self._services.tlog.probe()
            try:
                message = await self._send()
                self._note_shown(message)
            except UnavailableError as error:
                log.warning("heartbeat.not_sent", reason=error.message)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._due.wait(), self._services.settings.heartbeat_seconds)

    async def _send(self) -> Heartbeat:
        """Whatever this host's offers hold: it is alive all the same, and the centre and the log are told."""
        try:
            message = await self._heartbeat()
            sealed = self._sealed(message)
        except Exception as error:
            log.error("heartbeat.without_offers", reason=str(error), exc_info=error)
            message = self._bare("its offers cannot be told; its log says why")
            sealed = self._signed(message)
        await self._broker.publish("heartbeat", sealed)
        return message

    def _bare(self, text: str) -> Heartbeat:
        """What needs no file, no thread and no driver."""
        return Heartbeat(
            host=self._services.settings.host,
            epoch=self._services.journal.epoch,
            time=now(),
            interval=self._services.settings.heartbeat_seconds,
            software=version("fedproc"),
            condition=self._condition()[0],
            condition_text=text,
            capacity=self._services.pool.capacity(),
            open_jobs=len(self._reconciliation.open_jobs()),
            open_jobs_digest=self._reconciliation.digest(),
        )

    def _note_shown(self, message: Heartbeat) -> None:
        """The broker has it, so that the centre will: the next proof begins there."""
        if message.log is not None:
            self._services.tlog.witnessed = unverified(message.log.note).size

    def _sealed(self, message: Heartbeat) -> bytes:
        """One that is too large goes without what makes it so: the host is alive all the same."""
        try:
            return self._signed(message)
        except TooLargeError as error:
            log.error("heartbeat.too_large", datasets=len(message.datasets), reason=error.message)
            left_out = {"datasets": (), "tools": (), "tools_ready": (), "check": None, "columns": None, "budgets": None}
            return self._signed(
                message.model_copy(update={**left_out, "condition_text": f"its offers: {error.message}"})
            )

    def _signed(self, message: Heartbeat) -> bytes:
        """As of the centre's time: a host whose clock is slow is alive all the same."""
        identity = self._services.identity
        signed = identity.clock.now().timestamp()
        return seal(message, identity.signer, iss=message.host, aud=CENTRAL, iat=signed)

    async def _heartbeat(self) -> Heartbeat:
        condition, text = self._condition()
        return Heartbeat(
            host=self._services.settings.host,
            epoch=self._services.journal.epoch,
            time=now(),
            interval=self._services.settings.heartbeat_seconds,
            software=version("fedproc"),
            condition=condition,
            condition_text=text,
            capacity=self._services.pool.capacity(),
            executors=self._services.settings.executors,
            ahead=self._services.settings.prepare_days > 0,
            tools=self._services.policy.admitted(),
            policy=self._services.policy.released(),
            budgets=await budgets(self._services),
            tools_ready=await asyncio.to_thread(self._services.tool_cache.ready),
            datasets=await self._datasets(),
            columns=self._columns.next(self._services.data.columns(self._services.policy.least_count)),
            log=await self._services.tlog.shown(),
            open_jobs=len(self._reconciliation.open_jobs()),
            open_jobs_digest=self._reconciliation.digest(),
            check=self._check.shown(),
        )

    def _condition(self) -> tuple[Literal["accepting", "holding", "stopped"], str]:
        holds = self._services.holds
        if holds.stopped:
            return "stopped", "the site stopped all work on this host"
        if holds.held is not None:
            return "holding", holds.held
        clock = self._services.identity.clock
        if not clock.trusted:
            return "holding", f"this host's clock is {clock.skew:.0f} s off; nothing starts until it is right"
        unfit = [f"executor {name}: {reason}" for name, reason in self._services.runtimes.unfit.items()]
        return "accepting", "; ".join(filter(None, (self._check.alarm, *unfit)))

    async def _datasets(self) -> tuple[OfferedDataset, ...]:
        try:
            return await self._services.data.offers()
        except FedprocError as error:
            log.error("datasets.unreadable", reason=error.message)
            return ()

"""Messages from the centre: verified, passed to the orchestrator, which journals them, and acknowledged then."""

from __future__ import annotations

import asyncio
import hashlib

from joserfc.jwk import ECKey

from fedproc.common.amqp import Delivery
from fedproc.common.errors import UnreadableError
from fedproc.common.log import get_logger
from fedproc.contract.wire import jws, routing
from fedproc.contract.wire.messages import (
    Cancel,
    DeadLetterReason,
    Finish,
    JobOrder,
    OpenJobsRequest,
    Proceed,
    Revocation,
    Start,
    Wire,
)
from fedproc.site.jobs.orchestrator import Orchestrator
from fedproc.site.jobs.reconciliation import Reconciliation
from fedproc.site.jobs.services import Services
from fedproc.site.journal import JournalError
from fedproc.site.tlog.log import HostLogError

log = get_logger(__name__)

_REDELIVERY_PAUSE = 2.0
"""seconds for which a message that could not be journalled is kept before it goes back to its queue"""
_CONTROL = (Start, Proceed, Finish, Cancel, OpenJobsRequest, Revocation)


class Inbox:
    """Implements :class:`fedproc.site.centre.broker.Receiver`. ``keys`` sign what the centre sends."""

    def __init__(
        self,
        services: Services,
        orchestrator: Orchestrator,
        reconciliation: Reconciliation,
        keys: dict[str, ECKey],
    ) -> None:
        self._services = services
        self._host = services.settings.host
        self._orchestrator = orchestrator
        self._reconciliation = reconciliation
        self._keys = keys

    async def job(self, message: Delivery) -> None:
        """Journal, then ack. What can never be read is dead-lettered; what cannot be written stays queued."""
        await self._receive(message, routing.jobs_queue(self._host), (JobOrder,))

    async def control(self, message: Delivery) -> None:
        """start, proceed, finish, cancel, inventory, revocation."""
        await self._receive(message, routing.control_queue(self._host), _CONTROL)

    async def _receive(self, message: Delivery, queue: str, kinds: tuple[type[Wire], ...]) -> None:
        try:
            await self._handle(self._read(message.body, kinds))
        except UnreadableError as error:
            await self._dead_letter(message, queue, error)
        except JournalError as error:
            await self._put_back(message, error)
        except Exception:  # whatever it is: what is neither acknowledged nor given back is lost until the link breaks
            log.exception("message.not_handled", queue=queue)
            await self._give_back(message)
        else:
            message.ack()

    async def _put_back(self, message: Delivery, error: JournalError) -> None:
        """Hold, and have it delivered again; not at once, since it comes back as fast as it is given back."""
        if not isinstance(error, HostLogError):  # which holds the host itself
            self._services.holds.journal_fails(error.message)
        await self._give_back(message)

    async def _give_back(self, message: Delivery) -> None:
        await asyncio.sleep(_REDELIVERY_PAUSE)
        message.nack()

    def _read(self, raw: bytes, kinds: tuple[type[Wire], ...]) -> Wire:
        envelope, body = jws.unseal(raw, self._keys, aud=self._host)
        if not isinstance(body, kinds):
            raise UnreadableError(f"a {envelope.type!r} does not belong on this queue", code="unreadable.type")
        return body

    async def _handle(self, body: Wire) -> None:
        match body:
            case JobOrder():
                await self._orchestrator.accept(body)
            case Cancel():
                await self._orchestrator.cancel(body)
            case Start():
                await self._orchestrator.start(body)
            case Proceed():
                await self._orchestrator.proceed(body)
            case Finish():
                await self._orchestrator.finish(body)
            case Revocation():
                await self._orchestrator.revoke(body)
            case OpenJobsRequest():
                await self._reconciliation.report()

    async def _dead_letter(self, message: Delivery, queue: str, error: UnreadableError) -> None:
        log.error("message.unreadable", code=error.code, reason=error.message)
        reason = DeadLetterReason(
            host=self._host,
            epoch=self._services.journal.epoch,
            code=error.code,
            reason=error.message,
            sha256=hashlib.sha256(message.body).hexdigest(),
            queue=queue,
        )
        try:
            await self._services.journal.emit([("unread", reason.model_dump_json(exclude_defaults=True))])
        except JournalError as broken:
            await self._put_back(message, broken)
            return
        self._services.signals.outbox.publish()
        message.reject()

"""From the journal's outbox to the broker: events are published in order and forgotten when confirmed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any, cast

from fedproc.common.errors import TooLargeError, UnavailableError
from fedproc.common.log import get_logger
from fedproc.contract.states import TERMINAL, JobState
from fedproc.contract.wire.jws import CENTRAL, seal_body
from fedproc.contract.wire.routing import EventKind
from fedproc.site.centre.broker import Broker
from fedproc.site.centre.identity import Identity
from fedproc.site.centre.signals import OutboxSignal
from fedproc.site.journal import Journal, JournalError, Outgoing

log = get_logger(__name__)

_PAUSE = 0.5
_PACE = 0.02
"""seconds between two readings of the journal: what ends within them goes together"""
_BATCH = 200
_LISTS = frozenset({"outputs", "artefacts", "connections", "command"})
"""of a snapshot: what may make it larger than any message may be"""
_LONGEST_REASON = 4096


class OutboxPublisher:
    """Publishes what the journal holds, when it is due by the signal."""

    def __init__(self, journal: Journal, broker: Broker, identity: Identity, signal: OutboxSignal) -> None:
        self._journal = journal
        self._broker = broker
        self._identity = identity
        self._signal = signal

    async def run(self) -> None:
        """Publish until cancelled. What was published but not confirmed is published again."""
        while True:
            await self._broker.connected.wait()
            jobs = await self._signal.due()
            try:
                await self._publish_pending(jobs)
                await asyncio.sleep(_PACE)
            except (UnavailableError, JournalError) as error:
                log.warning("outbox.waiting", reason=error.message)
                await asyncio.sleep(_PAUSE)
                self._signal.publish_now()
            except Exception:  # whoever begins this again begins with what was due
                self._signal.publish_now()
                raise

    async def _publish_pending(self, jobs: set[str] | None) -> None:
        """Publish what waits, a batch at a time; of jobs those in ``jobs`` alone, if it is given."""
        after = 0
        while pending := await self._journal.outgoing(after, _BATCH):
            await self._publish_batch(pending, jobs)
            if len(pending) < _BATCH:
                return
            after = pending[-1].id

    async def _publish_batch(self, pending: Sequence[Outgoing], jobs: set[str] | None) -> None:
        read = [(entry, body) for entry in pending if (body := _body_of(entry)) is not None]
        if len(read) < len(pending):
            known = {entry.id for entry, _ in read}
            await self._journal.confirmed([entry.id for entry in pending if entry.id not in known])
        pending, bodies = [entry for entry, _ in read], [body for _, body in read]
        carried_by = _newest(pending, bodies)
        going = [n for n, body in enumerate(bodies) if jobs is None or body.get("job") in (None, *jobs)]
        chosen = sorted({carried_by[n] for n in going})
        sent = await asyncio.gather(
            *(self._publish(pending[n].kind, bodies[n]) for n in chosen), return_exceptions=True
        )
        errors = {n: error for n, error in zip(chosen, sent, strict=True) if error is not None}
        if done := [pending[n].id for n in going if carried_by[n] not in errors]:
            await self._journal.confirmed(done)
        for error in errors.values():
            raise error

    async def _publish(self, kind: str, body: dict[str, Any]) -> None:
        try:
            sealed = self._sealed(kind, body)
        except TooLargeError as error:
            log.error("message.too_large", kind=kind, job=body.get("job"), reason=error.message)
            if kind != "snapshot":
                return
            sealed = self._sealed(kind, _without_lists(body, error.message))
        await self._broker.publish(cast(EventKind, kind), sealed)

    def _sealed(self, kind: str, body: dict[str, Any]) -> bytes:
        signed = self._identity.clock.now().timestamp()
        return seal_body(kind, body, self._identity.signer, iss=self._identity.host, aud=CENTRAL, iat=signed)


def _without_lists(body: dict[str, Any], reason: str) -> dict[str, Any]:
    """A snapshot that says what it can; an end without its outputs is a fault, and an end it stays."""
    kept = {name: value for name, value in body.items() if name not in _LISTS}
    if body.get("state") in TERMINAL and body.get("outputs"):
        return kept | {"state": JobState.error.value, "code": "system_fault.too_large", "reason": reason}
    return kept | {"reason": (body.get("reason") or "")[:_LONGEST_REASON]}


def _body_of(entry: Outgoing) -> dict[str, Any] | None:
    """None if it cannot be read: it is left out, so that the others go. The centre asks for states that it lacks."""
    try:
        entry.body.encode()  # bytes that are no UTF-8 came as halves of surrogate pairs
        body: Any = json.loads(entry.body)
    except (ValueError, RecursionError) as error:
        reason = f"{type(error).__name__}: {error}".encode(errors="replace").decode()
        log.error("outbox.message_unreadable", message=entry.id, kind=entry.kind, reason=reason)
        return None
    return body if isinstance(body, dict) else None


def _newest(pending: Sequence[Outgoing], bodies: Sequence[dict[str, Any]]) -> list[int]:
    """For each message the place of the one that carries what it says.

    That is itself, but for a snapshot for which a newer one of its job waits as well: the highest sequence wins, so
    the older ones need no journey of their own.
    """
    newest = {
        body["job"]: n for n, (entry, body) in enumerate(zip(pending, bodies, strict=True)) if _is_snapshot(entry)
    }
    return [newest[bodies[n]["job"]] if _is_snapshot(entry) else n for n, entry in enumerate(pending)]


def _is_snapshot(entry: Outgoing) -> bool:
    return entry.kind == "snapshot"

"""Who did what, when, with which outcome: one row for every action through the API.

An action that changes the database is written in the same transaction (:meth:`AuditEvent.record`), so that it costs no
commit of its own. What is left, mostly refusals, is written before the answer leaves, many in one commit.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from sqlalchemy import Connection, Engine, insert
from starlette.concurrency import run_in_threadpool
from starlette.types import Scope

from fedproc.central.api.rates import Bucket
from fedproc.central.db.engine import write_transaction
from fedproc.central.db.repositories import audits
from fedproc.central.db.schema import audit
from fedproc.common.errors import FedprocError, UnavailableError
from fedproc.common.log import get_logger
from fedproc.common.tasks import settle

log = get_logger(__name__)

ANONYMOUS = "anonymous"
_READS = frozenset({"GET", "HEAD", "OPTIONS"})
_NOBODYS = frozenset({401, 429})
STRANGERS_A_MINUTE = 60
"""refusals of callers that showed no token: failed sign-ins and wrong codes of enrolments. Beyond it they are logged
alone, since anybody could fill the database with them; what succeeds is always kept"""
_STRANGER = "enrolment:"
_ADD = insert(audit)
_MAX_WAITING = 2000
_NOT_KEPT = "unavailable.audit"


class AuditEvent:
    """What one request does. A request that only reads is none, unless its endpoint says so (``is_action``)."""

    __slots__ = ("_scope", "actor", "detail", "is_action", "outcome", "target")

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self.actor = ANONYMOUS
        self.target: str | None = None
        self.detail: str | None = None
        self.is_action = scope["method"] not in _READS
        self.outcome: int | None = None

    def record(
        self, connection: Connection, outcome: int, target: str | None = None, detail: str | None = None
    ) -> None:
        """Write the action in the transaction that does it; ``outcome`` is the status that will be answered."""
        self.target, self.detail, self.outcome = target or self.target, detail or self.detail, outcome
        connection.execute(_ADD, self.entry(outcome))

    def unrecorded(self, status: int) -> bool:
        """Whether an answer with ``status`` says something that no transaction has kept.

        Requests without a good token are counted and logged, not kept: anybody could fill the database with them. A
        failed sign-in is kept, since it names an account.
        """
        nobody = self.actor == ANONYMOUS and self.target is None and status in _NOBODYS
        return self.is_action and not nobody and self.outcome != status and "route" in self._scope

    def entry(self, outcome: int) -> dict[str, Any]:
        """The row of this action."""
        return {
            "time": time.time(),
            "actor": self.actor,
            "method": self._scope["method"][:8],
            "path": _printable(self._scope["path"], 500),
            "action": self._scope["route"].name[:64],
            "target": _printable(self.target, 255) if self.target else None,
            "outcome": outcome,
            "detail": _printable(self.detail, 500) if self.detail else None,
            **audits.to_be_logged(),
        }


def _is_strangers_refusal(entry: dict[str, Any]) -> bool:
    actor: str = entry["actor"]
    return entry["outcome"] >= 400 and (actor == ANONYMOUS or actor.startswith(_STRANGER))


def _printable(text: str, length: int) -> str:
    return "".join(character if character.isprintable() else "?" for character in text[:length])


class AuditLog:
    """Writes actions that have no transaction of their own, as many as wait in one commit."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._waiting: list[tuple[dict[str, Any], asyncio.Future[UnavailableError | None]]] = []
        self._writer: asyncio.Task[None] | None = None
        self._strangers = Bucket(STRANGERS_A_MINUTE, time.monotonic())

    async def append(self, entry: dict[str, Any]) -> None:
        """Returns once the entry is committed; where the database is away, the entry stands in the log instead.

        Raises :class:`UnavailableError` where it could not be written and nobody foresaw why; the log has it then, too.
        """
        if _is_strangers_refusal(entry) and self._strangers.take(STRANGERS_A_MINUTE, time.monotonic()):
            log.warning("audit.stranger_not_kept", entry=entry)
            return
        if len(self._waiting) >= _MAX_WAITING:
            log.error("audit.queue_full", entry=entry)
            return
        done: asyncio.Future[UnavailableError | None] = asyncio.get_running_loop().create_future()
        self._waiting.append((entry, done))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write())
        if (error := await done) is not None:
            raise error

    async def _write(self) -> None:
        """Whatever happens to a batch, each request in it is answered, and the next batch is written."""
        while self._waiting:
            batch, self._waiting = self._waiting, []
            error: UnavailableError | None = UnavailableError("the API is ending; send it again", code=_NOT_KEPT)
            try:
                error = await self._written([entry for entry, _ in batch])
            finally:
                for _, done in batch:
                    settle(done, error)

    async def _written(self, entries: list[dict[str, Any]]) -> UnavailableError | None:
        """Write them; the error with which their requests are answered, if that is to be."""
        try:
            await run_in_threadpool(self._insert, entries)
        except Exception as error:
            unforeseen = None if isinstance(error, FedprocError) else error
            for entry in entries:
                log.error("audit.not_kept", entry=entry, reason=str(error), exc_info=unforeseen)
            if unforeseen is not None:
                text = "it could not be written to the audit log: tell the API's operator, whose log has the cause"
                return UnavailableError(text, code=_NOT_KEPT)
        return None

    def _insert(self, entries: list[dict[str, Any]]) -> None:
        with write_transaction(self._engine) as connection:
            connection.execute(_ADD, entries)

"""Writing the host's log: before the act, many acts with one flush of the disk; what is not written is not done."""

from __future__ import annotations

import asyncio
import hashlib
import re
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from fedproc.common.errors import FedprocError
from fedproc.common.files import write_atomically
from fedproc.common.log import get_logger
from fedproc.common.retry import Backoff
from fedproc.common.tasks import settle
from fedproc.common.tlog.entries import moment_text
from fedproc.common.tlog.errors import LogDamagedError, LogError
from fedproc.common.tlog.folder import give_to_owner
from fedproc.common.tlog.log import Log
from fedproc.common.tlog.pseudonyms import Pseudonyms
from fedproc.common.tlog.witness import encoded
from fedproc.contract.wire.logs import ShownLog
from fedproc.site.journal import JournalError
from fedproc.site.tlog.entries import HostEntry, LogResumed, PolicyChanged

log = get_logger(__name__)
T = TypeVar("T")

FOLDER = "tlog"
_POLICIES = "policies"
_LAST = "last"
_SHA256 = re.compile(rb"[0-9a-f]{64}")
_PATIENCE = 10.0
"""seconds that a heartbeat waits for a disk that does not answer"""
WAITING = "this host's transparency log, which cannot be written; its site must see to its disk"
"""what leaves the host of why a job waits"""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 10.0

OnCondition = Callable[[str | None], None]
"""is told why the log cannot be written, and None when it can again"""


class HostLogError(JournalError):
    """The log cannot be written now: what it has to hold must wait."""

    code = "tlog.unwritable"


class HostLog:
    """One host's log. It is opened with the first entry, so that a host whose log is not to be had still answers."""

    def __init__(self, folder: Path, origin: str) -> None:
        self.folder = folder
        self._origin = origin
        self._log: Log | None = None
        self._opening = threading.Lock()
        self._pseudonyms: Pseudonyms | None = None
        self._waiting: list[tuple[HostEntry, asyncio.Future[HostLogError | None]]] = []
        self._writer: asyncio.Task[None] | None = None
        self._under_way: dict[str, asyncio.Task[Any]] = {}
        self._failing_since: str | None = None
        self._damaged: HostLogError | None = None
        self.on_condition: OnCondition = lambda _reason: None
        self.witnessed = 0
        """entries that the centre has witnessed, as far as is known here"""
        self.policy: str | None = None
        """sha256 of the policy file that counts now"""

    # -- writing ---------------------------------------------------------------------------------

    async def append(self, entry: HostEntry) -> None:
        """Returns when the entry is on the disk. Raises :class:`HostLogError`, and then the act must not be done."""
        done: asyncio.Future[HostLogError | None] = asyncio.get_running_loop().create_future()
        self._waiting.append((entry, done))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write(), name="tlog")
        if (error := await done) is not None:
            raise error

    async def append_persistently(self, entry: HostEntry, on_wait: OnCondition) -> None:
        """The same, as often as it takes; ``on_wait`` is told what is waited for, and None when that is over."""
        backoff, waited = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE), False
        while True:
            try:
                await self.append(entry)
            except HostLogError as error:
                log.warning("tlog.waiting", kind=entry.kind, reason=error.message)
                on_wait(WAITING)
                waited = True
                await asyncio.sleep(backoff.pause())
            else:
                break
        if waited:
            on_wait(None)

    async def probe(self) -> None:
        """While the log fails: try to write, so that what waits for it goes on when the cause is gone."""
        if (since := self._failing_since) is not None and self._damaged is None:
            await self._within("probe", self._resume(since))

    async def _resume(self, since: str) -> None:
        with suppress(HostLogError):
            await self.append(LogResumed(since=since))

    async def _within(self, what: str, work: Coroutine[Any, Any, T]) -> T | None:
        """What comes of it; None if that takes too long. It goes on then, and is not begun again meanwhile."""
        if what in self._under_way:
            work.close()
        else:
            self._under_way[what] = asyncio.create_task(work, name=f"tlog-{what}")
        done, _ = await asyncio.wait({self._under_way[what]}, timeout=_PATIENCE)
        if not done:
            log.error("tlog.disk_does_not_answer", folder=str(self.folder), what=what)
            return None
        found: T = self._under_way.pop(what).result()
        return found

    async def note_policy(self, content: bytes) -> None:
        """The policy of these bytes counts when this returns; they are kept in the log's folder under their hash.

        A change stands in the log before that: this waits for it. The first policy of a program counts at once; if it
        is not that of the program before, that is a change, too.
        """
        digest, before = hashlib.sha256(content).hexdigest(), self.policy
        if before is None:
            self.policy, before = digest, await asyncio.to_thread(self._last_policy)
        await asyncio.to_thread(self._keep_policy, f"{digest}.toml", content)
        if before not in (None, digest):
            await self.append_persistently(PolicyChanged(policy=digest, before=before), lambda _reason: None)
        self.policy = digest
        await asyncio.to_thread(self._keep_policy, _LAST, digest.encode())

    async def note_rules(self, edition: str, content: bytes) -> None:
        """Rules that entries name by ``edition``, the hash of this content; kept beside the log."""
        await asyncio.to_thread(self._keep_policy, f"rules-{edition}.json", content)

    def _last_policy(self) -> str | None:
        try:
            found = (self.folder / _POLICIES / _LAST).read_bytes()
        except OSError:
            return None
        return found.decode() if _SHA256.fullmatch(found) else None

    def _keep_policy(self, name: str, content: bytes) -> None:
        """A copy that cannot be kept keeps nothing else: its hash stands in the log."""
        path = self.folder / _POLICIES / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            if name == _LAST or not path.exists():
                write_atomically(path, content, 0o600)
        except OSError as error:
            log.error("tlog.policy_not_kept", policy=name, reason=str(error))

    # -- for its witness -------------------------------------------------------------------------

    async def shown(self) -> ShownLog | None:
        """The log for the centre to witness, from what it has witnessed; None while there is none to show."""
        return await self._within("shown", self._show())

    async def _show(self) -> ShownLog | None:
        try:
            return await asyncio.to_thread(self._shown)
        except (HostLogError, LogError) as error:
            log.warning("tlog.not_shown", reason=error.message)
            return None

    def _shown(self) -> ShownLog:
        opened, since = self._opened()[0], self.witnessed
        note, proof = opened.consistency(since)
        return ShownLog(note=note, verifier=opened.verifier, since=since, proof=encoded(proof))

    @property
    def works(self) -> bool:
        """Whether it could be written when that was last tried."""
        return self._failing_since is None

    @property
    def size(self) -> int | None:
        """How many entries there are; None before it was opened."""
        return None if self._log is None else self._log.size

    # -- who, as the log says it -----------------------------------------------------------------

    async def pseudonyms(self) -> Pseudonyms:
        """Raises :class:`HostLogError` if their key cannot be had."""
        if self._pseudonyms is None:
            self._pseudonyms = (await asyncio.to_thread(self._opened))[1]
        return self._pseudonyms

    async def pseudonyms_persistently(self, on_wait: OnCondition) -> Pseudonyms:
        """The same, as often as it takes, as :meth:`append_persistently` does."""
        backoff = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)
        while True:
            try:
                return await self.pseudonyms()
            except HostLogError as error:
                log.warning("tlog.waiting", kind="pseudonyms", reason=error.message)
                on_wait(WAITING)
                await asyncio.sleep(backoff.pause())

    # -- in its thread ---------------------------------------------------------------------------

    async def _write(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            error: HostLogError | None = HostLogError("the orchestrator is ending")
            try:
                error = await self._written([entry for entry, _ in batch])
            finally:
                for _, done in batch:
                    settle(done, error)

    async def _written(self, entries: list[HostEntry]) -> HostLogError | None:
        try:
            await asyncio.to_thread(self._append, entries)
        except HostLogError as error:
            self._fails(error)
            return error
        self._works()
        return None

    def _append(self, entries: list[HostEntry]) -> None:
        opened, _ = self._opened()
        try:
            opened.append([(entry.kind, entry.data()) for entry in entries])
        except FedprocError as error:
            raise self._failed(error) from error

    def _opened(self) -> tuple[Log, Pseudonyms]:
        if self._damaged is not None:
            raise self._damaged
        with self._opening:
            if self._log is not None and self._pseudonyms is not None:
                return self._log, self._pseudonyms
            return self._open()

    def _open(self) -> tuple[Log, Pseudonyms]:
        try:
            self._log = self._log or Log(self.folder, self._origin)
            self._pseudonyms = self._pseudonyms or Pseudonyms(self.folder)
            give_to_owner(self.folder)
        except (FedprocError, OSError) as error:
            raise self._failed(error) from error
        return self._log, self._pseudonyms

    def _failed(self, error: Exception) -> HostLogError:
        text = error.message if isinstance(error, FedprocError) else f"{self.folder}: {error}"
        found = HostLogError(text)
        if isinstance(error, LogDamagedError):
            self._damaged = found
        return found

    def _fails(self, error: HostLogError) -> None:
        if self._failing_since is None:
            self._failing_since = moment_text(datetime.now(UTC))
            log.error("tlog.not_written", reason=error.message)
        self.on_condition(error.message)

    def _works(self) -> None:
        if self._failing_since is not None:
            log.warning("tlog.written_again", failing_since=self._failing_since)
        self._failing_since = None
        self.on_condition(None)

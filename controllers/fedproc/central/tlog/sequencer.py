"""From the database into the log: what waits there, in its order, with one flush of the disk for all of it."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Engine, Row

from fedproc.central.db.engine import read_transaction, write_transaction
from fedproc.central.db.repositories import log_queue
from fedproc.central.db.repositories.log_queue import LogEntry
from fedproc.central.settings import CentralSettings
from fedproc.central.tlog import entries
from fedproc.common.log import get_logger
from fedproc.common.tlog.entries import moment_text
from fedproc.common.tlog.errors import LogError
from fedproc.common.tlog.log import Log
from fedproc.common.tlog.opening import Opening
from fedproc.common.tlog.pseudonyms import Pseudonyms

log = get_logger(__name__)

AT_ONCE = 500


class Sequencer:
    """Puts what waits into the log. Methods block, and may be called by any thread.

    An act that is logged when the program dies, before the database knows, is logged twice.
    """

    def __init__(self, engine: Engine, settings: CentralSettings) -> None:
        self._engine = engine
        self._settings = settings
        self._mutex = threading.Lock()
        self._opening = Opening(settings.tlog_folder, settings.tlog_origin)
        self._names: Pseudonyms | None = None
        self._failing_since: str | None = None
        self.problem: str | None = None
        """why the log cannot be written, if so"""

    def check(self) -> None:
        """Raises :class:`LogError` if the log could not be written when that was last tried, and cannot now."""
        if self._failing_since is not None:
            self.flush([LogEntry(entries.RESUMED, {"since": self._failing_since})])

    def keep_up(self) -> None:
        """Log all that waits. Raises :class:`LogError`."""
        self.check()
        self.flush()

    def flush(self, acts: Sequence[LogEntry] = ()) -> None:
        """Log all that waits, and then these. Raises :class:`LogError`: nothing of these must be done then."""
        with self._mutex:
            try:
                while self._flush_some():
                    pass
                self._append(acts)
            except LogError as error:
                self._fails(error)
                raise
            self._works(bool(acts))

    def _flush_some(self) -> bool:
        """Whether there may be more."""
        with read_transaction(self._engine) as connection:
            if not log_queue.is_any_waiting(connection):
                return False
        with write_transaction(self._engine) as connection:
            waiting, audits = log_queue.waiting(connection, AT_ONCE), log_queue.acts(connection, AT_ONCE)
            self._append([*self._complete(connection, waiting), *entries.acts(audits)])
            log_queue.logged(connection, [row.id for row in waiting], [row.id for row in audits])
        return AT_ONCE in (len(waiting), len(audits))

    def _complete(self, connection: Connection, rows: Sequence[Row[Any]]) -> Iterator[LogEntry]:
        """An experiment waits as its id alone: what it is stands in its own rows."""
        ids = {row.data["experiment"] for row in rows if row.kind == entries.SUBMITTED}
        experiments, jobs = log_queue.submitted(connection, ids)
        for row in rows:
            experiment = experiments.get(row.data.get("experiment")) if row.kind == entries.SUBMITTED else None
            if experiment is None:
                yield LogEntry(row.kind, row.data)
            else:
                yield from entries.submitted(experiment, jobs.get(experiment.id, []), self._opened()[1])

    def _append(self, acts: Iterable[LogEntry]) -> None:
        if new := [(act.kind, act.data) for act in acts]:
            self._opened()[0].append(new)

    def _opened(self) -> tuple[Log, Pseudonyms]:
        opened = self._opening.log()
        self._names = self._names or names_of(self._settings)
        return opened, self._names

    def _fails(self, error: LogError) -> None:
        if self._failing_since is None:
            self._failing_since = moment_text(datetime.now(UTC))
            log.error("tlog.not_written", reason=error.message)
        self.problem = error.message

    def _works(self, wrote: bool) -> None:
        """What had nothing to write proves nothing."""
        if self._failing_since is not None and wrote:
            log.warning("tlog.written_again", failing_since=self._failing_since)
            self._failing_since = self.problem = None


def names_of(settings: CentralSettings) -> Pseudonyms:
    """How the log names persons. Raises :class:`LogError`."""
    try:
        return Pseudonyms(settings.tlog_folder)
    except OSError as error:
        raise LogError(f"{error.filename or settings.tlog_folder}: {error.strerror}; look at its rights") from error

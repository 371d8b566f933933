"""Whether this host takes new jobs, and why not: its site stopped it or drains it, or something here is amiss."""

from __future__ import annotations

from fedproc.common.errors import SystemFaultError
from fedproc.common.log import get_logger
from fedproc.contract.times import now
from fedproc.site.centre.signals import Signals
from fedproc.site.journal import Journal, JournalError
from fedproc.site.settings import SiteSettings

log = get_logger(__name__)

_STOP_FILE = "stopped"
_JOURNAL = "journal"
_DRAIN = "drain"
_TLOG = "tlog"


class Holds:
    """The reasons for which no new jobs are taken. Each change is signalled to the broker and the heartbeat."""

    def __init__(self, settings: SiteSettings, journal: Journal, signals: Signals) -> None:
        self._journal = journal
        self._journal_folder = settings.journal_folder
        self._stop_file = settings.state / _STOP_FILE
        self._signals = signals
        self._stopped = self._stop_file.exists()
        self._signals.accept_jobs.set(not self._stopped)
        self._reasons: dict[str, str] = {}

    @property
    def stopped(self) -> bool:
        """The site's own switch: no job starts or goes on, whatever the centre says. It outlives a restart."""
        return self._stopped

    @property
    def held(self) -> str | None:
        """Why no new jobs are taken just now, if so."""
        return "; ".join(self._reasons.values()) or None

    def stop(self) -> None:
        """Take no jobs until :meth:`start`, also after a restart.

        Raises :class:`SystemFaultError` if that cannot be written down; it is stopped all the same.
        """
        self._stopped = True
        self._signals.accept_jobs.set(False)
        self._signals.heartbeat.set()
        try:
            self._stop_file.write_text("stopped by the site\n")
        except OSError as error:
            raise SystemFaultError(
                f"stopped, but not beyond a restart of the orchestrator: {self._stop_file} cannot be written "
                f"({error.strerror}); make room there, and stop again"
            ) from error

    def start(self) -> None:
        """Take jobs again, unless something else holds. Raises :class:`SystemFaultError` if it stays stopped."""
        try:
            self._stop_file.unlink(missing_ok=True)
        except OSError as error:
            raise SystemFaultError(
                f"still stopped: {self._stop_file} cannot be removed ({error.strerror}); set its rights, then start"
            ) from error
        self._stopped = False
        self._reasons.pop(_DRAIN, None)
        self._signals.accept_jobs.set(self.held is None)
        self._signals.heartbeat.set()

    def drain(self) -> None:
        """Take no new jobs, and let those that are here go on to their ends; until :meth:`start` or a restart."""
        self.hold(_DRAIN, "its site drains this host: jobs go on to their ends, and no new ones are taken")

    def hold(self, cause: str, reason: str | None) -> None:
        """Take no new jobs while ``cause`` has a reason to; None lifts it."""
        before = self.held
        if reason is None:
            self._reasons.pop(cause, None)
        else:
            self._reasons[cause] = reason
        if (before is None) == (self.held is None):
            return
        if self.held is None:
            log.warning("jobs.accepting")
        else:
            log.error("jobs.held", reason=reason)
        self._signals.accept_jobs.set(self.held is None and not self.stopped)
        self._signals.heartbeat.set()

    # -- the journal -----------------------------------------------------------------------------

    def journal_works(self) -> None:
        """It was written."""
        self.hold(_JOURNAL, None)

    def journal_fails(self, reason: str | None = None) -> None:
        """It could not be written."""
        self.hold(_JOURNAL, reason or f"the journal in {self._journal_folder} cannot be written")

    def tlog_condition(self, reason: str | None) -> None:
        """Why the transparency log cannot be written, if so: what it cannot hold must not be done."""
        self.hold(_TLOG, reason)

    async def probe_journal(self) -> None:
        """While the journal holds: try to write, so that holding ends when the cause is gone."""
        if _JOURNAL not in self._reasons:
            return
        try:
            await self._journal.write(
                lambda c: c.execute("INSERT OR REPLACE INTO meta VALUES ('probe', ?)", (now().isoformat(),)) and None
            )
        except JournalError:
            return
        self.journal_works()
        self._signals.outbox.publish()

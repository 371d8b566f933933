"""The centre as the witness of its hosts' logs, and what it shows of its own."""

from __future__ import annotations

import threading
from typing import Any

from fedproc.central.settings import CentralSettings
from fedproc.common.errors import UnavailableError
from fedproc.common.log import get_logger
from fedproc.common.tlog.errors import LogError
from fedproc.common.tlog.log import Log
from fedproc.common.tlog.notes import NoteError
from fedproc.common.tlog.witness import Shown, Witnessed, assess, encoded
from fedproc.contract.wire.logs import ShownLog, WitnessedLog

log = get_logger(__name__)


def assessed(host: str, kept: dict[str, Any] | None, shown: ShownLog, now: float) -> dict[str, Any]:
    """What is kept of a host's log after it has shown this."""
    before = None if kept is None else Witnessed.of_json(kept)
    after = assess(before, Shown(shown.note, shown.verifier, shown.since, shown.proof), now)
    if after.is_broken and not (before is not None and before.is_broken):
        cure = "ask its site; fedproc hosts show has both checkpoints, docs/operations/audit.md says more"
        log.error("host.log_broken", host=host, assessment=after.assessment, reason=after.text, cure=cure)
    return after.as_json()


def column(host: str, kept: dict[str, Any] | None, shown: ShownLog | None, now: float) -> dict[str, Any]:
    """The column ``log`` of a host after its heartbeat; nothing if that showed no log."""
    return {} if shown is None else {"log": assessed(host, kept, shown, now)}


def view(kept: dict[str, Any] | None) -> WitnessedLog | None:
    """As the API shows it."""
    return None if kept is None else WitnessedLog.model_validate({**kept, "size": _size(kept)})


def _size(kept: dict[str, Any]) -> int | None:
    try:
        return Witnessed.of_json(kept).checkpoint.size
    except NoteError:
        return None


class LogReader:
    """The centre's own log, for programs that only show it. Methods block."""

    def __init__(self, settings: CentralSettings) -> None:
        self._settings = settings
        self._mutex = threading.Lock()
        self._log: Log | None = None

    def shown(self, since: int) -> ShownLog:
        """For whoever has witnessed ``since`` entries. Raises :class:`UnavailableError`."""
        try:
            with self._mutex:
                self._log = self._log or Log(self._settings.tlog_folder, self._settings.tlog_origin)
            note, proof = self._log.consistency(since)
        except LogError as error:
            raise UnavailableError(error.message, code="unavailable.tlog") from error
        return ShownLog(note=note, verifier=self._log.verifier, since=since, proof=encoded(proof))

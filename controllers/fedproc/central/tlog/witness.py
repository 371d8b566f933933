"""The centre as the witness of its hosts' logs, and what it shows of its own."""

from __future__ import annotations

from typing import Any

from fedproc.central.settings import CentralSettings
from fedproc.common.errors import UnavailableError
from fedproc.common.log import get_logger
from fedproc.common.tlog.errors import LogError
from fedproc.common.tlog.notes import NoteError
from fedproc.common.tlog.opening import Opening
from fedproc.common.tlog.witness import Shown, Witnessed, assess, encoded
from fedproc.contract.wire.logs import ShownLog, WitnessedLog

log = get_logger(__name__)

_SIGNED = "signed"
"""beside what is kept: when the last heartbeat was signed that showed the log"""


def assessed(host: str, kept: dict[str, Any] | None, shown: ShownLog, now: float) -> dict[str, Any]:
    """What is kept of a host's log after it has shown this."""
    before = None if kept is None else Witnessed.of_json(kept)
    after = assess(before, Shown(shown.note, shown.verifier, shown.since, shown.proof), now)
    if after.is_broken and not (before is not None and before.is_broken):
        cure = "ask its site; fedproc hosts show has both checkpoints, docs/operations/audit.md says more"
        log.error("host.log_broken", host=host, assessment=after.assessment, reason=after.text, cure=cure)
    return after.as_json()


def column(host: str, kept: dict[str, Any] | None, shown: ShownLog | None, signed: float, now: float) -> dict[str, Any]:
    """The column ``log`` of a host after its heartbeat, which was ``signed`` then.

    Nothing if that showed no log, or was signed no later than the last one that did: it came late, and its log was
    shorter then.
    """
    if shown is None or (kept is not None and signed <= kept.get(_SIGNED, 0.0)):
        return {}
    return {"log": assessed(host, kept, shown, now) | {_SIGNED: signed}}


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
        self._opening = Opening(settings.tlog_folder, settings.tlog_origin)

    def shown(self, since: int) -> ShownLog:
        """For whoever has witnessed ``since`` entries. Raises :class:`UnavailableError`."""
        try:
            own = self._opening.log()
            note, proof = own.consistency(since)
        except LogError as error:
            raise UnavailableError(error.message, code="unavailable.tlog") from error
        return ShownLog(note=note, verifier=own.verifier, since=since, proof=encoded(proof))

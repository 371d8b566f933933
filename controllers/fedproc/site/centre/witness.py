"""The host as the witness of the centre's log; and what the centre has witnessed of the host's own."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

from fedproc.common.errors import FedprocError
from fedproc.common.files import write_atomically
from fedproc.common.log import get_logger
from fedproc.common.retry import Backoff
from fedproc.common.tlog.checkpoints import unverified
from fedproc.common.tlog.notes import NoteError
from fedproc.common.tlog.witness import BROKEN, Assessment, Shown, Witnessed, assess
from fedproc.contract.wire.logs import WitnessedLog, WitnessExchange
from fedproc.site.centre.api import Transfer
from fedproc.site.tlog.log import HostLog

log = get_logger(__name__)

_FIRST_SECONDS, _SECONDS = 2.0, 300.0
_KEPT = "centre.json"
CENTRES_CHECKPOINT = "centre.checkpoint"


class CentreWitness:
    """Asks the centre now and then; what it keeps lies in the folder of the host's own log."""

    def __init__(self, host: str, tlog: HostLog, transfer: Transfer) -> None:
        self._host = host
        self._tlog = tlog
        self._transfer = transfer
        self._kept = _read(tlog.folder / _KEPT)
        self.of_ours: WitnessedLog | None = None
        """what the centre has of this host's log, as it said last"""

    @property
    def of_centre(self) -> WitnessedLog | None:
        """What is kept here of the centre's log."""
        if self._kept is None:
            return None
        return WitnessedLog.model_validate({**self._kept.as_json(), "size": self._size})

    @property
    def is_broken(self) -> bool:
        """Whether either log is not what its witness has seen."""
        ours = self.of_ours is not None and self.of_ours.assessment in BROKEN
        return ours or (self._kept is not None and self._kept.is_broken)

    @property
    def _size(self) -> int:
        return self._kept.checkpoint.size if self._kept is not None and self._kept.note else 0

    async def run(self) -> None:
        """Until cancelled. A centre that does not answer, or knows nothing of it, is asked less and less often."""
        backoff = Backoff(_FIRST_SECONDS, _SECONDS)
        while True:
            if await self._exchanged():
                backoff.reset()
                await asyncio.sleep(_SECONDS)
            else:
                await asyncio.sleep(backoff.pause())

    async def _exchanged(self) -> bool:
        """Whether there is nothing that a next exchange would soon bring."""
        try:
            await self.exchange()
        except (FedprocError, OSError) as error:
            log.info("witness.not_exchanged", reason=str(error))
            return False
        return self.of_ours is not None and self.of_ours.assessment != Assessment.unproven

    async def exchange(self) -> None:
        """Ask once. Raises what :meth:`Transfer.exchange_witness` does, and :class:`OSError`."""
        found = await self._transfer.exchange_witness(self._host, self._size)
        await asyncio.to_thread(self._keep, found)
        self._look_at_ours(found.witnessed)

    def _keep(self, found: WitnessExchange) -> None:
        shown, before = found.centre, self._kept
        after = assess(before, Shown(shown.note, shown.verifier, shown.since, shown.proof), time.time())
        if after.is_broken and not (before is not None and before.is_broken):
            cure = "ask the federation's operator; docs/operations/audit.md says more"
            log.error("centre.log_broken", assessment=after.assessment, reason=after.text, cure=cure)
        self._kept = after
        write_atomically(self._tlog.folder / _KEPT, json.dumps(after.as_json()).encode(), 0o600)
        if after.note:
            write_atomically(self._tlog.folder / CENTRES_CHECKPOINT, after.note.encode())

    def _look_at_ours(self, ours: WitnessedLog | None) -> None:
        """The next proof to the centre begins with what it has."""
        before, self.of_ours = self.of_ours, ours
        try:
            self._tlog.witnessed = 0 if ours is None else unverified(ours.note).size
        except NoteError:
            self._tlog.witnessed = 0
        if ours is not None and ours.assessment in BROKEN and before != ours:
            log.error("tlog.not_as_witnessed", assessment=ours.assessment, reason=ours.text)


def _read(path: Path) -> Witnessed | None:
    try:
        kept: dict[str, Any] = json.loads(path.read_bytes())
        return Witnessed.of_json(kept)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        log.error("witness.unreadable", file=str(path), reason=str(error))
        return None

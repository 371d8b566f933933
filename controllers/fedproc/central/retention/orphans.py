"""Bytes in the file store without an entry: a program died between the two, or the database was restored.

They are not removed when they are found but some days later, counted in this database: if it turns out to be the wrong
one, the bytes are still there. What somebody else put into the folder stays, and is told.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fedproc.central.db.engine import write_transaction
from fedproc.central.files import discards
from fedproc.central.retention.storage import BATCH, Storage
from fedproc.common.log import get_logger

log = get_logger(__name__)

_SHOWN = 5
DAY = 86_400.0
"""seconds within which an entry may still come for bytes, and a file that is written under another name is renamed"""


def find(storage: Storage, days: float, now: float) -> Iterator[int]:
    """Have those bytes removed in ``days`` days that no entry names; yields how many of each folder are without one."""
    blobs, strange = storage.blobs, list[str]()
    for folder in blobs.folders():
        paths = [path for path in folder.iterdir() if _is_old(path, now)]
        strange += [str(path) for path in paths if not (blobs.is_own(path) or blobs.is_partial(path))]
        for partial in filter(blobs.is_partial, paths):
            _unlink(partial)
        own, found = [path.name for path in paths if blobs.is_own(path)], 0
        for start in range(0, len(own), BATCH):
            found += _note(storage, own[start : start + BATCH], now + days * DAY)
        yield found
    if strange:
        cure = "they are none of the file store's: look whose they are, and move them away"
        log.warning("retention.strange_files", count=len(strange), first=strange[:_SHOWN], cure=cure)


def _unlink(partial: Path) -> None:
    try:
        partial.unlink(missing_ok=True)
    except OSError as error:
        log.warning("retention.bytes_stay", name=partial.name, reason=str(error))


def _note(storage: Storage, names: list[str], due: float) -> int:
    with write_transaction(storage.engine) as connection:
        orphans = set(names) - discards.named(connection, names)
        discards.note(connection, orphans, due)
    return len(orphans)


def _is_old(path: Path, now: float) -> bool:
    try:
        return path.stat().st_mtime < now - DAY
    except FileNotFoundError:
        return False

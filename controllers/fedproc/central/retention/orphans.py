"""Bytes in the file store without an entry: a program died between the two, or the database was restored.

They are not removed when they are found but some days later, counted in this database: if it turns out to be the wrong
one, the bytes are still there.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fedproc.central.db.engine import write_transaction
from fedproc.central.files import discards
from fedproc.central.retention.storage import BATCH, Storage

DAY = 86_400.0
"""seconds within which an entry may still come for bytes, and a file that is written under another name is renamed"""


def find(storage: Storage, days: float, now: float) -> Iterator[int]:
    """Have those bytes removed in ``days`` days that no entry names; yields how many of each folder are without one."""
    for folder in storage.blobs.folders():
        names = [path.name for path in folder.iterdir() if _is_old(path, now)]
        for partial in (name for name in names if name.startswith(".")):
            (folder / partial).unlink(missing_ok=True)
        whole = [name for name in names if not name.startswith(".")]
        found = 0
        for start in range(0, len(whole), BATCH):
            found += _note(storage, whole[start : start + BATCH], now + days * DAY)
        yield found


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

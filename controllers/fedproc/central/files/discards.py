"""Bytes that no entry names any more: noted in the transaction that deletes the entry, removed after it.

A program that dies between the two leaves the note, and whoever applies retention next removes the bytes.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, Engine, Row, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from fedproc.central.db.engine import is_sqlite, read_transaction, write_transaction
from fedproc.central.db.schema import discards, files, tools
from fedproc.central.files.blobs import Blobs
from fedproc.common.log import get_logger

log = get_logger(__name__)

DAY = 86_400.0
_PORTION = 500
_OF_ENTRIES = "f-"
"""names of files' bytes begin so; all others are hashes, and may come again"""


def note(connection: Connection, names: Collection[str], due: float) -> None:
    """Have these bytes removed from ``due`` on, if no entry names them by then; what was noted before stays so."""
    dialect = sqlite if is_sqlite(connection.engine) else postgresql
    if noted := [{"name": name, "due": due} for name in sorted(names)]:  # so no two programs wait for each other
        connection.execute(dialect.insert(discards).on_conflict_do_nothing(), noted)


def withdraw_outputs(connection: Connection, job: Row[Any], now: float) -> None:
    """Remove what a job has sent whose site refuses it: a policy may change, or a program die, between two files."""
    sent = connection.execute(select(files.c.id).where(files.c.job == job.id, files.c.output.is_not(None)))
    if ids := sent.scalars().all():
        log.warning("outputs.withdrawn", job=job.id, host=job.host, files=len(ids))
        note(connection, ids, now)
        connection.execute(delete(files).where(files.c.id.in_(ids)))


def named(connection: Connection, names: Collection[str]) -> set[str]:
    """Those of ``names`` that an entry or a tool names."""
    entries = connection.execute(select(files.c.id).where(files.c.id.in_(names))).scalars()
    bundles = connection.execute(select(tools.c.bundle).where(tools.c.bundle.in_(names))).scalars()
    return {*entries, *bundles}


def remove(engine: Engine, blobs: Blobs, names: Sequence[str], now: float) -> None:
    """Remove these bytes, which were noted, and their notes; what is named again stays.

    Bytes that cannot be removed are due again in a day, and hold up no others.
    """
    if not names:
        return
    with read_transaction(engine) as connection:
        kept = named(connection, names)
    stay = {name for name in names if name not in kept and not _is_removed(blobs, name)}
    with write_transaction(engine) as connection:
        connection.execute(delete(discards).where(discards.c.name.in_(set(names) - stay)))
        connection.execute(update(discards).where(discards.c.name.in_(stay)).values(due=now + DAY))


def _is_removed(blobs: Blobs, name: str) -> bool:
    try:
        if not _came_again(blobs, name):
            blobs.delete(name)
    except OSError as error:
        log.warning("retention.bytes_stay", name=name, reason=str(error), again_in_hours=DAY / 3600)
        return False
    return True


def remove_due(engine: Engine, blobs: Blobs, now: float) -> Iterator[int]:
    """Remove all that is due, in portions; yields how many bytes' names each one had."""
    query = select(discards.c.name).where(discards.c.due <= now).order_by(discards.c.due).limit(_PORTION)
    while True:
        with read_transaction(engine) as connection:
            names = connection.execute(query).scalars().all()
        remove(engine, blobs, names, now)
        yield len(names)
        if len(names) < _PORTION:
            return


def _came_again(blobs: Blobs, name: str) -> bool:
    """Whether bytes that are named by their hash were put there just now, before their tool names them."""
    if name.startswith(_OF_ENTRIES):
        return False
    changed = blobs.changed(name)
    return changed is not None and time.time() - changed < DAY

"""A program may die in the middle of an erasure: whoever erases again finds what is left, and the audit says so."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Connection, select
from tests.central.retention.conftest import Kept

from fedproc.central.db.engine import read_transaction
from fedproc.central.db.repositories import audits
from fedproc.central.db.schema import audit
from fedproc.central.retention import erasure
from fedproc.central.retention.erasure import Erased, Person, erase
from fedproc.common.errors import NotFoundError

DAY = 86_400.0
ROSA = Person("rosa", ())


def record(connection: Connection, erased: Erased) -> None:
    audits.add(connection, "the operator", "erase_user", erased.pseudonym, str(erased), 1.0)


def dies(_connection: Connection, _erased: Erased) -> None:
    raise KeyboardInterrupt


def actors(kept: Kept) -> set[str]:
    with read_transaction(kept.storage.engine) as connection:
        return set(connection.execute(select(audit.c.actor)).scalars())


@pytest.mark.parametrize("entries", [1, 3, 4, 6, 7])
def test_an_erasure_that_was_cut_off_is_found_and_said_by_the_next(
    kept: Any, monkeypatch: pytest.MonkeyPatch, entries: int
) -> None:
    monkeypatch.setattr(erasure, "BATCH", 3)
    kept.experiment(kept.start - DAY)
    kept.file(kept.start)
    for number in range(entries):
        kept.audit(kept.start + number)
    with pytest.raises(KeyboardInterrupt):
        erase(kept.storage, ROSA, "the operator", kept.start, dies)
    erased = erase(kept.storage, ROSA, "the operator", kept.start, record)
    assert erased.pseudonym
    assert "rosa" not in actors(kept)
    assert kept.count(audit, action="erase_user", target=erased.pseudonym) == 1
    left = kept.rows()
    assert (left["experiments"], left["files"], left["deletions"], left["discards"]) == (0, 0, 0, 0)
    with pytest.raises(NotFoundError):
        erase(kept.storage, ROSA, "the operator", kept.start, record)

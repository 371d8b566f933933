"""An act that cannot be written down."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import select
from tests.support.books import Books
from tests.support.central_api import Federation, problem

from fedproc.central.api import audit
from fedproc.central.api.audit import AuditLog
from fedproc.central.db import schema
from fedproc.central.db.engine import read_transaction
from fedproc.common.errors import UnavailableError


def entry(actor: str) -> dict[str, Any]:
    return {
        "time": 1.0, "actor": actor, "method": "POST", "path": "/", "action": "x", "target": None, "outcome": 403,
        "detail": None,
    }  # fmt: skip


async def test_a_fault_that_nobody_foresaw_answers_all_who_wait_and_the_next_is_written(
    books: Books, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    written, insert = asyncio.Event(), AuditLog._insert
    loop = asyncio.get_running_loop()

    def breaks(self: AuditLog, entries: list[dict[str, Any]]) -> None:
        loop.call_soon_threadsafe(written.set)
        if entries[0]["actor"] == "one":
            raise RuntimeError("nobody foresaw this")
        insert(self, entries)

    monkeypatch.setattr(AuditLog, "_insert", breaks)
    log = AuditLog(books.engine)
    first = asyncio.create_task(log.append(entry("one")))
    await asyncio.sleep(0)
    others = [asyncio.create_task(log.append(entry(actor))) for actor in ("two", "three")]
    async with asyncio.timeout(20):
        with pytest.raises(UnavailableError, match="audit log"):
            await first
        await asyncio.gather(*others)
        await log.append(entry("four"))
    assert "audit.not_kept" in caplog.text


async def test_what_a_stranger_does_is_bounded_where_it_fails_alone(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "STRANGERS_A_MINUTE", 2)
    log = AuditLog(books.engine)
    for _ in range(5):
        await log.append({**entry("anonymous"), "action": "signs in", "outcome": 200})
        await log.append({**entry("anonymous"), "action": "guesses"})
    with read_transaction(books.engine) as connection:
        kept = list(connection.execute(select(schema.audit.c.action)).scalars())
    assert (kept.count("signs in"), kept.count("guesses")) == (5, 2)


@pytest.mark.server
def test_what_cannot_be_written_down_is_answered_by_503(lone: Federation, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*_: object) -> None:
        raise RuntimeError("nobody foresaw this")

    with lone.user() as rosa:
        with monkeypatch.context() as patched:
            patched.setattr(audit.AuditLog, "_insert", breaks)
            problem(rosa.post("/experiments", json={}), 503, "unavailable.audit")
        problem(rosa.post("/experiments", json={}), 422)

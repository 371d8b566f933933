"""A journal's record that cannot be read ends its own job alone, and is not lost."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest
from tests.support.orchestrator import Host, S, order, record

from fedproc.contract.wire.messages import Snapshot
from fedproc.site.centre.witness import CentreWitness
from fedproc.site.journal import Journal
from fedproc.site.status.control import Caller
from fedproc.site.status.routes import routes_for


@pytest.fixture
async def host(tmp_path: Path, journal: Journal) -> AsyncIterator[Host]:
    host = Host(tmp_path, journal, ())
    yield host
    await host.orchestrator.close()


BROKEN = {
    "cut off": lambda text: text[:-20],
    "of a later release": lambda text: text.replace('"state": "running"', '"state": "dreaming"'),
    "no UTF-8": lambda text: text.replace('"sub": "alice"', '"sub": "al\udcffice"'),
    "no JSON": lambda text: "\x00" * 30,
    "of another job": lambda text: text.replace('"job": "j-', '"job": "j-0', 1),
}


async def spoil(host: Host, job: str, how: str) -> str:
    text = BROKEN[how](str(await host.journal.known_text(job)))
    raw = text.encode(errors="surrogateescape")
    sql = "UPDATE jobs SET doc = CAST(? AS TEXT) WHERE id = ?"
    await host.journal.write(lambda c: c.execute(sql, (raw, job)) and None)
    return text


async def snapshots(host: Host) -> list[Snapshot]:
    waiting = [entry for entry in await host.journal.outgoing(0) if entry.kind == "snapshot"]
    return [Snapshot.model_validate_json(entry.body) for entry in waiting]


@pytest.mark.parametrize("how", BROKEN)
async def test_record_that_cannot_be_read_keeps_no_other_job_from_going_on(host: Host, how: str) -> None:
    broken, good = record(S.running), record(S.running)
    job, kept = await host.has(broken), await host.has(good)
    await spoil(host, job, how)
    (host.services.workspace(job).work).mkdir(parents=True)
    await host.orchestrator.resume()
    assert set(host.orchestrator.runs) == {kept}
    async with asyncio.timeout(10):
        while host.orchestrator.leftovers:
            await asyncio.sleep(0.01)
    assert set(host.executor.running) == {kept}
    assert not host.services.workspace(job).root.exists()
    assert [entry[0] for entry in await host.journal.unreadable()] == [job]
    told = [found for found in await snapshots(host) if found.job == job]
    if how == "no JSON":  # of which experiment cannot be read; the centre asks for the job, and ends it
        assert told == []
    else:
        assert [(one.state, one.code, one.experiment) for one in told] == [
            (S.error, "journal_lost", broken.order.experiment)
        ]


async def test_job_whose_record_was_set_aside_is_not_run_when_its_order_comes_again(host: Host) -> None:
    ordered = order()
    lost = record(S.running).model_copy(update={"order": ordered})
    await host.has(lost)
    await spoil(host, ordered.job, "cut off")
    await host.orchestrator.resume()
    later = order()
    await host.orchestrator.accept(ordered)
    await host.orchestrator.accept(later)
    await host.runs(later.job)
    assert {job for job, _ in host.executor.started} == {later.job}
    assert ordered.job not in host.orchestrator.runs


@pytest.mark.parametrize("kept_as", ["blob", "no UTF-8"])
async def test_record_that_is_no_text_is_set_aside_whatever_its_column_holds(host: Host, kept_as: str) -> None:
    broken, good = record(S.running), record(S.running)
    job, kept = await host.has(broken), await host.has(good)
    sql = (
        "UPDATE jobs SET doc = ? WHERE id = ?"
        if kept_as == "blob"
        else "UPDATE jobs SET doc = CAST(? AS TEXT) WHERE id = ?"
    )
    await host.journal.write(lambda c: c.execute(sql, (b"{\xff", job)) and None)
    assert await host.journal.known_text(job) == "{\udcff"
    await host.orchestrator.resume()
    assert set(host.orchestrator.runs) == {kept}
    assert [entry[0] for entry in await host.journal.unreadable()] == [job]


@pytest.mark.parametrize("name", ["../x", "j-1", "", b"\xff", b"../x", "j-" + "0" * 26 + "\n"])
@pytest.mark.parametrize("content", ["{", '{"handle": {"job": "../x"}}'])
async def test_what_is_kept_under_no_jobs_id_is_set_aside_and_reaches_no_path(
    host: Host, tmp_path: Path, name: str | bytes, content: str
) -> None:
    (tmp_path / "x").mkdir()
    discarded: list[Any] = []

    async def discard(handle: dict[str, Any]) -> None:
        discarded.append(handle)

    host.executor.discard = discard  # type: ignore[method-assign]
    await host.journal.write(
        lambda c: c.execute("INSERT INTO jobs VALUES (?, 'running', 1, ?)", (name, content)) and None
    )
    await host.orchestrator.resume()
    assert (host.orchestrator.leftovers, host.orchestrator.runs, discarded) == ({}, {}, [])
    assert (tmp_path / "x").exists()
    assert await host.journal.open_jobs() == []
    [(aside, _, _)] = await host.journal.unreadable()
    aside.encode()
    assert await snapshots(host) == []


async def test_operator_sees_what_was_set_aside(host: Host) -> None:
    job = await host.has(record(S.running))
    await spoil(host, job, "cut off")
    await host.orchestrator.resume()
    check: Any = cast(Any, type("Check", (), {"shown": lambda self: None})())
    witness = CentreWitness("UB", host.services.tlog, cast(Any, None))
    routes = routes_for(host.services, host.orchestrator, check, cast(Any, None), witness)
    handler = next(handler for verb, pattern, handler in routes if verb == "GET" and pattern.fullmatch("/status"))
    shown = await handler(cast(re.Match[str], None), {}, Caller(0))
    assert [entry["job"] for entry in shown["unreadable"]] == [job]
    assert json.dumps(shown["unreadable"])


async def test_ended_job_whose_record_cannot_be_read_leaves_its_folder_to_be_removed(host: Host) -> None:
    ended = record(S.running)
    ended.state = S.succeeded
    job = await host.has(ended)
    await host.journal.save(job, ended.as_json(), [])
    await spoil(host, job, "cut off")
    host.services.workspace(job).work.mkdir(parents=True)
    await host.orchestrator.resume()
    async with asyncio.timeout(10):
        while host.orchestrator.leftovers:
            await asyncio.sleep(0.01)
    assert not host.services.workspace(job).root.exists()
    assert [entry[0] for entry in await host.journal.unreadable()] == [job]

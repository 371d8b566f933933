"""Writing the host's log: together, in order, and again when it could not be written."""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
from pathlib import Path

import pytest
from tests.support.disks import Disk

from fedproc.common.tlog import pseudonyms
from fedproc.common.tlog.entries import Entry
from fedproc.common.tlog.folder import ENTRIES, KEY
from fedproc.common.tlog.log import Log
from fedproc.common.tlog.pseudonyms import Pseudonyms
from fedproc.common.tlog.verification import read_entries, verify
from fedproc.site.tlog import log as log_module
from fedproc.site.tlog.entries import HostEntry, JobEnded, LogResumed, PolicyChanged
from fedproc.site.tlog.log import WAITING, HostLog, HostLogError


def entry(number: int) -> HostEntry:
    return JobEnded(job=f"j-{number:026d}", experiment="e-" + "0" * 26, state="succeeded")


def entries(log: HostLog) -> list[Entry]:
    return list(read_entries(log.folder / ENTRIES))


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


@pytest.fixture
def log(tmp_path: Path) -> HostLog:
    return HostLog(tmp_path / "tlog", "centre.example/hosts/UB")


async def test_entries_of_a_burst_share_flushes_of_the_disk(log: HostLog, disk: Disk) -> None:
    await asyncio.gather(*(log.append(entry(number)) for number in range(200)))
    assert [found.data["job"] for found in entries(log)] == [f"j-{number:026d}" for number in range(200)]
    assert disk.flushes < 20


async def test_full_disk_is_told_and_nothing_is_answered_for(log: HostLog, disk: Disk) -> None:
    conditions: list[str | None] = []
    log.on_condition = conditions.append
    await log.append(entry(0))
    disk.full = True
    with pytest.raises(HostLogError, match="make room there"):
        await log.append(entry(1))
    assert conditions[0] is None
    assert "No space left" in str(conditions[-1])
    assert len(entries(log)) == 1


async def test_log_that_fails_is_tried_again_and_says_since_when(log: HostLog, disk: Disk) -> None:
    conditions: list[str | None] = []
    log.on_condition = conditions.append
    disk.full = True
    with pytest.raises(HostLogError):
        await log.append(entry(0))
    await log.probe()
    assert conditions[-1] is not None
    disk.full = False
    await log.probe()
    assert conditions[-1] is None
    assert [found.kind for found in entries(log)] == [LogResumed.kind]
    await log.probe()
    assert len(entries(log)) == 1, "it works: there is nothing to try"


@pytest.mark.slow
async def test_entry_waits_until_there_is_room(log: HostLog, disk: Disk) -> None:
    disk.full, waits = True, asyncio.Queue[str | None]()
    task = asyncio.create_task(log.append_persistently(entry(0), waits.put_nowait))
    assert await waits.get() == WAITING, "no path of the host leaves it"
    assert not task.done()
    disk.full = False
    await task
    while (last := await waits.get()) is not None:
        assert last == WAITING
    assert len(entries(log)) == 1


async def test_damaged_log_is_added_to_no_more(log: HostLog) -> None:
    await log.append(entry(0))
    (log.folder / KEY).unlink()
    again = HostLog(log.folder, "x")
    for _ in range(2):
        with pytest.raises(HostLogError, match="put it back from a backup"):
            await again.append(entry(1))
    await again.probe()
    assert len(entries(log)) == 1


async def test_caller_that_is_cancelled_holds_up_nobody(log: HostLog) -> None:
    first = asyncio.create_task(log.append(entry(0)))
    await asyncio.sleep(0)
    first.cancel()
    await log.append(entry(1))
    assert len(entries(log)) == 2


async def test_programs_beside_the_orchestrator_write_the_same_log(log: HostLog) -> None:
    other = HostLog(log.folder, "centre.example/hosts/UB")
    for number in range(5):
        await log.append(entry(number))
        await other.append(entry(number + 5))
    assert verify(log.folder).whole
    assert len(entries(log)) == 10


async def test_policy_is_kept_by_its_hash_and_its_change_noted(log: HostLog) -> None:
    await log.note_policy(b"logs = false\n")
    first = log.policy
    await log.note_policy(b"logs = true\n")
    await log.note_policy(b"logs = true\n")
    assert [(found.kind, dict(found.data)) for found in entries(log)] == [
        (PolicyChanged.kind, {"policy": log.policy, "before": first})
    ]
    assert (log.folder / "policies" / f"{log.policy}.toml").read_text() == "logs = true\n"
    assert first == hashlib.sha256(b"logs = false\n").hexdigest()


async def test_policy_that_changed_while_no_program_ran_is_noted(log: HostLog) -> None:
    await log.note_policy(b"logs = false\n")
    again = HostLog(log.folder, "x")
    await again.note_policy(b"logs = true\n")
    assert [dict(found.data) for found in entries(log)] == [{"policy": again.policy, "before": log.policy}]


@pytest.mark.slow
async def test_policy_counts_when_the_log_has_it(log: HostLog, disk: Disk) -> None:
    await log.note_policy(b"logs = false\n")
    first, failing = log.policy, asyncio.Event()
    log.on_condition = lambda reason: failing.set() if reason else None
    disk.full = True
    task = asyncio.create_task(log.note_policy(b"logs = true\n"))
    await failing.wait()
    assert log.policy == first
    disk.full = False
    await task
    assert log.policy != first


@pytest.mark.slow
async def test_disk_that_does_not_answer_silences_no_heartbeat(log: HostLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_module, "_PATIENCE", 0.05)
    answers, asked = threading.Event(), list[int]()

    def hangs(_self: Log, since: int) -> tuple[str, list[bytes]]:
        asked.append(since)
        answers.wait(20)
        return "note", []

    await log.append(entry(0))
    with monkeypatch.context() as patched:
        patched.setattr(Log, "consistency", hangs)
        assert await log.shown() is None
        assert await log.shown() is None
        assert len(asked) == 1, "one thread hangs, not one for each heartbeat"
        answers.set()
        monkeypatch.setattr(log_module, "_PATIENCE", 20)
        assert (await log.shown()) is not None


def test_pseudonyms_are_the_same_again_and_say_nothing(tmp_path: Path) -> None:
    names = Pseudonyms(tmp_path)
    assert names.of("user", "alice") == Pseudonyms(tmp_path).of("user", "alice") != names.of("user", "bob")
    assert names.of("user", "alice") != names.of("project", "alice")
    assert hashlib.sha256(b"alice").hexdigest()[:32] not in names.of("user", "alice")
    (tmp_path / pseudonyms.KEY).unlink()
    assert Pseudonyms(tmp_path).of("user", "alice") != names.of("user", "alice")


def test_key_of_pseudonyms_that_is_none_is_not_used(tmp_path: Path) -> None:
    (tmp_path / pseudonyms.KEY).write_bytes(b"")
    with pytest.raises(OSError, match="put it back from a backup"):
        Pseudonyms(tmp_path)


def test_key_of_pseudonyms_without_room_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            Pseudonyms(tmp_path)
    assert Pseudonyms(tmp_path).of("user", "alice")


async def test_key_of_pseudonyms_is_made_once_by_those_who_begin_together(log: HostLog) -> None:
    names = await asyncio.gather(*(log.pseudonyms() for _ in range(8)))
    assert len({one.of("user", "alice") for one in names}) == 1


@pytest.mark.parametrize(("text", "kept"), [
    ("EUCAIM-2026/17", True), ("project of Dr. Rosa Roca", False), ("", False), ("x" * 65, False), ("ñ", False),
    (None, True),
])  # fmt: skip
def test_text_that_is_no_id_is_written_as_a_pseudonym(tmp_path: Path, text: str | None, kept: bool) -> None:
    found = Pseudonyms(tmp_path).unless_id("project", text)
    assert (found == text) is kept
    assert kept or (found or "").startswith("project:")


def test_log_of_a_host_has_the_key_of_its_folder(tmp_path: Path) -> None:
    assert Log(tmp_path / "a", "x/hosts/UB").verifier != Log(tmp_path / "b", "x/hosts/UB").verifier

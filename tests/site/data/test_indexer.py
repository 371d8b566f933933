"""Indexes are kept up to date: large ones by a process of their own, one pass at a time."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fedproc.site.data import indexer as module
from fedproc.site.data.indexer import Indexer

LONG_AGO = 1_600_000_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "dataset"
    made.mkdir()
    for number in range(30):
        path = made / f"{number}"
        path.write_bytes(b"%d" % number)
        os.utime(path, (LONG_AGO, LONG_AGO))
    return made


@pytest.mark.process
async def test_pass_over_a_large_dataset_has_a_process_of_its_own(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = await Indexer(tmp_path / "here").current("d", folder)
    monkeypatch.setattr(module, "_OWN_PROCESS_FILES", 10)
    monkeypatch.setattr(module, "_update", None)
    indexer = Indexer(tmp_path / "there")
    there = await indexer.current("d", folder)
    assert (there.version, there.fingerprint) == (here.version, here.fingerprint)
    assert indexer.progress("d") is None


@pytest.mark.process
async def test_large_dataset_with_a_problem_is_known_and_not_read_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(500):
        (folder / f"more{number}").write_bytes(b"%d" % number)
        os.utime(folder / f"more{number}", (LONG_AGO, LONG_AGO))
    (folder / "empty").touch()
    os.utime(folder / "empty", (LONG_AGO, LONG_AGO))
    indexer = Indexer(tmp_path / "indexes")
    found = await indexer.current("d", folder)
    assert found.found == {"empty": 1}
    monkeypatch.setattr(Indexer, "_pass", None)
    assert await indexer.current("d", folder) == found


@pytest.mark.process
async def test_faults_of_a_process_of_its_own_are_told(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_OWN_PROCESS_FILES", 10)
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file") as raised:
        await Indexer(tmp_path / "file").current("d", folder)
    assert not isinstance(raised.value, AssertionError)


@pytest.mark.process
async def test_pass_that_nobody_waits_for_ends_with_its_process(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_OWN_PROCESS_FILES", 10)
    started: list[asyncio.subprocess.Process] = []
    real = asyncio.create_subprocess_exec

    async def noted(*_: object, **named: object) -> asyncio.subprocess.Process:
        started.append(await real("sleep", "1000", **named))  # type: ignore[arg-type]
        return started[0]

    monkeypatch.setattr(module.asyncio, "create_subprocess_exec", noted)
    looking = asyncio.create_task(Indexer(tmp_path / "indexes").current("d", folder))
    async with asyncio.timeout(10):
        while not started:
            await asyncio.sleep(0.01)
        looking.cancel()
        await started[0].wait()
    assert started[0].returncode == -9


async def test_who_waits_is_told_how_far_it_has_come(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_TELL_SECONDS", 0.01)
    told: list[tuple[int, int]] = []
    go_on = asyncio.Event()
    real = Indexer._pass

    async def slowly(self: Indexer, *arguments: object) -> object:
        self._progress["d"] = (10, 30)
        await go_on.wait()
        return await real(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Indexer, "_pass", slowly)

    def tell(looked_at: int, files: int) -> None:
        told.append((looked_at, files))
        go_on.set()

    await Indexer(tmp_path / "indexes").current("d", folder, tell)
    assert told[0] == (10, 30)


async def test_two_who_ask_have_one_pass_made(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    passes: list[object] = []
    real = Indexer._pass

    async def counted(self: Indexer, *arguments: object) -> object:
        passes.append(arguments)
        return await real(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Indexer, "_pass", counted)
    indexer = Indexer(tmp_path / "indexes")
    first, second = await asyncio.gather(indexer.current("d", folder), indexer.current("d", folder))
    assert first == second
    assert len(passes) == 1


async def test_many_who_ask_at_once_have_two_looks_made(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks, real = [], module.folder_state

    def counted(*arguments: Any) -> Any:
        looks.append(arguments)
        return real(*arguments)

    monkeypatch.setattr(module, "folder_state", counted)
    indexer = Indexer(tmp_path / "indexes")
    first = asyncio.create_task(indexer.current("d", folder))
    while not looks:
        await asyncio.sleep(0)
    (folder / "new").write_bytes(b"x")
    found = await asyncio.gather(*(indexer.current("d", folder) for _ in range(20)))
    await first
    assert {known.files for known in found} == {31}, "what was there when they asked counts"
    assert len(looks) == 2


async def test_look_that_failed_leaves_nothing_seen(folder: Path, tmp_path: Path) -> None:
    indexer = Indexer(tmp_path / "indexes")
    found = await indexer.current("d", folder)
    assert indexer.seen("d", 0) == found
    assert indexer.seen("d", 60) is None, "it took no minute"
    os.rename(folder, tmp_path / "away")  # noqa: PTH104
    with pytest.raises(OSError, match="No such file"):
        await indexer.current("d", folder)
    assert indexer.seen("d", 0) is None


@pytest.mark.process
def test_process_of_its_own_has_no_more_memory_than_bearable() -> None:
    code = "from fedproc.site.data.index_process import limit_memory; limit_memory(); bytearray(3 << 30)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.stderr.strip().endswith("MemoryError")


@pytest.mark.process
async def test_one_large_file_has_a_process_of_its_own(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What its elements come to in memory must not be the orchestrator's."""
    (folder / "large").write_bytes(bytes(2 << 20))
    monkeypatch.setattr(module, "_update", None)
    assert (await Indexer(tmp_path / "indexes").current("d", folder)).files == 31

"""The end of a container whose engine is away, refuses, or loses its events: seen once, and never taken for another."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import docker.errors
import pytest
import requests

from fedproc.site.executors.base import ExecutorError, Handle, Limits, Observation, Phase, Spec, Stop
from fedproc.site.executors.confinement import record as recording
from fedproc.site.executors.confinement.limits import LimitMonitor
from fedproc.site.executors.confinement.record import Record, read_record
from fedproc.site.executors.docker import container as running
from fedproc.site.executors.docker.client import EngineRefusedError, Event
from fedproc.site.executors.docker.dialect import EngineNature
from fedproc.site.executors.docker.executor import DockerExecutor

pytestmark = pytest.mark.slow

JOB, GRACE = "j-1", 0.2


def refused(status: int) -> EngineRefusedError:
    response = requests.Response()
    response.status_code = status
    return EngineRefusedError(docker.errors.APIError("no", response=response))


@dataclass
class Made:
    """A container, as its engine knows it."""

    id: str
    status: str = "created"
    code: int = 0
    started: str = "0001-01-01T00:00:00Z"
    ended: str = "0001-01-01T00:00:00Z"
    oom: bool = False

    def inspected(self) -> dict[str, Any]:
        on = self.status == "running"
        state = {
            "Status": self.status,
            "Running": on,
            "ExitCode": self.code,
            "Pid": os.getpid() if on else 0,
            "OOMKilled": self.oom,
        }
        return {"Id": self.id, "State": {**state, "StartedAt": self.started, "FinishedAt": self.ended}}


class StandIn:
    """An engine. It answers nothing while it is ``away``, refuses what is in ``refuses``, and waits for ``starts``."""

    losses = 0

    def __init__(self) -> None:
        self.made: dict[str, Made] = {}
        self.away = self.no_output = False
        self.refuses: dict[str, int] = {}
        self.starts = asyncio.Event()
        self.starts.set()
        self.kills: list[str] = []
        self.readers: list[asyncio.StreamReader] = []
        self.executor: DockerExecutor | None = None

    async def nature(self) -> EngineNature:
        return EngineNature()

    async def create(self, creation: dict[str, Any], name: str) -> str:
        if name in self.made:
            raise refused(409)
        self.made[name] = Made(f"id-of-{name}")
        return self.made[name].id

    async def call(self, method: str, container: str, **options: Any) -> Any:
        if self.away:
            raise ExecutorError("the container engine does not answer")
        if method in self.refuses:
            raise refused(self.refuses[method])
        name = next((name for name, made in self.made.items() if container in (name, made.id)), "")
        if not name:
            raise refused(404)
        if method == "inspect_container":
            return self.made[name].inspected()
        if method == "remove_container":
            self.end(name, 137)
            del self.made[name]
        elif method == "start":
            await self.starts.wait()
            self.made[name].status, self.made[name].started = "running", datetime.now(UTC).isoformat()
        elif method == "kill":
            self.kills.append(options["signal"])
            if options["signal"] == "SIGKILL":
                self.end(name, 137)
        return None

    async def attach(self, container: str, *, begun: bool, running: bool) -> Any:
        if self.no_output:
            raise ExecutorError("the container engine gives no output")
        reader = asyncio.StreamReader()
        self.readers.append(reader)
        if not running:
            reader.feed_eof()
        return reader, cast(Any, type("Writer", (), {"close": lambda self: None})())

    def end(self, name: str, code: int, *, told: bool = True) -> None:
        for reader in self.readers:
            reader.feed_eof()
        made = self.made[name]
        made.status, made.code, made.ended = "exited", code, datetime.now(UTC).isoformat()
        if told and self.executor is not None:
            self.executor._on_event(Event(name, made.id, "die", {"exitCode": str(code)}))

    def close(self) -> None:
        """There is nothing to close."""


class Host:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.engine = StandIn()
        (folder / "work").mkdir()
        self.executor = self.restarted()

    def restarted(self) -> DockerExecutor:
        """A daemon after the one before, which is no more."""
        if self.engine.executor is not None:
            self.engine.executor.close()
        self.executor = self.engine.executor = DockerExecutor(self.folder / "jobs", "unix:///nowhere")
        self.executor._engine = cast(Any, self.engine)
        return self.executor

    async def submit(self) -> Handle:
        limits = Limits(cpus=1, memory=1 << 30, disk=1 << 30)
        spec = Spec(JOB, ("x",), {}, "image", self.folder / "work", limits, stop=Stop(grace=GRACE))
        return await self.executor.submit(spec)

    async def end(self, handle: Handle) -> Observation:
        async with asyncio.timeout(15):
            return await self.executor.poll(handle, until_exit=True)

    def miss(self) -> None:
        """Events may have been lost."""
        self.executor._on_missed(datetime.now(UTC) - timedelta(seconds=1))


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    async def own(folder: str, uid: int, gid: int) -> None:
        """Whoever tests need not be root."""

    monkeypatch.setattr("fedproc.site.executors.confinement.disk.own", own)
    monkeypatch.setattr("fedproc.site.executors.confinement.disk.let_pass", lambda workspace, uid: None)
    monkeypatch.setattr(running, "_SETTLE_SECONDS", 0.01)
    made = Host(tmp_path)
    yield made
    made.executor.close()


@pytest.mark.parametrize("fault", ["away", "no_output"])
async def test_container_that_was_half_taken_up_is_taken_up_anew(host: Host, fault: str) -> None:
    handle = await host.submit()
    host.restarted()
    setattr(host.engine, fault, True)
    with pytest.raises(ExecutorError):
        await host.executor.poll(handle)
    setattr(host.engine, fault, False)
    host.engine.end(JOB, 3, told=False)
    assert (await host.end(handle)).exit_code == 3


async def test_signal_that_is_lost_with_the_engine_is_sent_again(host: Host) -> None:
    handle = await host.submit()
    host.engine.away = True
    await host.executor.cancel(handle)
    await asyncio.sleep(2 * GRACE)
    assert host.engine.kills == []
    host.engine.away = False
    host.miss()
    seen = await host.end(handle)
    assert (seen.exit_code, seen.cancelled) == (137, True)


async def test_end_that_no_event_told_is_asked_for_while_it_is_killed(host: Host) -> None:
    handle = await host.submit()
    host.engine.end(JOB, 7, told=False)
    host.engine.refuses["kill"] = 409
    await host.executor.cancel(handle)
    assert (await host.end(handle)).exit_code == 7


async def test_engine_that_refuses_to_say_is_asked_again(host: Host) -> None:
    handle = await host.submit()
    host.engine.end(JOB, 3, told=False)
    host.engine.refuses["inspect_container"] = 500
    host.miss()
    await asyncio.sleep(0.1)
    host.engine.refuses.clear()
    assert (await host.end(handle)).phase is Phase.exited


async def test_container_that_is_not_started_yet_has_not_ended(host: Host) -> None:
    host.engine.starts.clear()
    submitting = asyncio.create_task(host.submit())
    while JOB not in host.engine.made:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    host.miss()
    await asyncio.sleep(0.05)
    host.engine.starts.set()
    handle = await submitting
    await asyncio.sleep(0.05)
    assert (await host.executor.poll(handle)).phase is Phase.running
    host.engine.end(JOB, 5)
    assert (await host.end(handle)).exit_code == 5


async def test_job_is_ended_while_the_disk_is_full(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    handle = await host.submit()
    really = recording.write_record

    def full(folder: Path, record: Record) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(folder))

    for module in (recording, running):
        monkeypatch.setattr(module, "write_record", full, raising=False)
    await host.executor.cancel(handle)
    seen = await host.end(handle)
    assert (seen.phase, seen.cancelled, host.engine.kills[0]) == (Phase.exited, True, "SIGTERM")
    for module in (recording, running):
        monkeypatch.setattr(module, "write_record", really, raising=False)
    async with asyncio.timeout(15):
        while (read_record(Path(handle["folder"])) or Record("")).phase != "exited":
            await asyncio.sleep(0.02)


async def test_container_that_the_engine_does_not_remove_is_not_forgotten(host: Host) -> None:
    handle = await host.submit()
    host.engine.refuses["remove_container"] = 500
    with pytest.raises(ExecutorError):
        await host.executor.discard(handle)
    assert JOB in await host.executor.records()
    host.engine.refuses.clear()
    await host.executor.discard(handle)
    assert (host.engine.made, await host.executor.records()) == ({}, {})


async def test_container_started_by_a_daemon_that_was_lost_then_is_on_record(host: Host) -> None:
    handle = await host.submit()
    (Path(handle["folder"]) / "record.jsonl").unlink()
    host.restarted()
    await host.submit()
    host.restarted()
    assert (await host.executor.poll(handle)).phase is Phase.running


async def test_job_whose_limits_cannot_be_watched_is_ended(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    async def watch(self: LimitMonitor, group: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(LimitMonitor, "watch", watch)
    seen = await host.end(await host.submit())
    assert (seen.phase, seen.exit_code) == (Phase.exited, None)
    assert "its limits could not be watched any more" in seen.detail


@pytest.mark.parametrize("days", [1, -1])
async def test_clock_that_was_set_makes_a_job_no_older(host: Host, days: int) -> None:
    handle = await host.submit()
    host.engine.made[JOB].started = (datetime.now(UTC) - timedelta(days=days)).isoformat()
    host.restarted()
    seconds = (await host.executor.poll(handle)).seconds
    assert seconds is not None
    assert 0 <= seconds < 3600, "this process, which stands for the job's, is younger"


async def test_word_that_memory_was_short_may_come_behind_the_end(host: Host) -> None:
    handle = await host.submit()
    host.engine.end(JOB, 137)
    waiting = asyncio.create_task(host.end(handle))
    await asyncio.sleep(0.05)
    host.engine.made[JOB].oom = True
    ended = await waiting
    assert (ended.exit_code, ended.limit) == (137, "memory")

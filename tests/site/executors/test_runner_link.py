"""The orchestrator's end of the link with the job runner: one that hangs, that says nonsense, that is lost."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from fedproc.site.executors import sandbox
from fedproc.site.executors.base import ExecutorError, Phase
from fedproc.site.executors.sandbox import SandboxExecutor

HANDLE = {"job": "j-1", "folder": "/nowhere"}
Says = Callable[[dict[str, Any]], "bytes | None"]


@asynccontextmanager
async def runner(folder: Path, says: Says) -> AsyncIterator[SandboxExecutor]:
    """A socket in the runner's place; what ``says`` returns is its answer, None is none."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            answer = says(json.loads(line))
            if answer is not None:
                writer.write(answer + b"\n")
        writer.close()

    server = await asyncio.start_unix_server(connected, str(folder / "runner.sock"))
    try:
        yield SandboxExecutor(folder)
    finally:
        server.close()


def answer(request: dict[str, Any], **result: Any) -> bytes:
    return json.dumps({"id": request["id"], "result": result}).encode()


@pytest.mark.slow
async def test_a_runner_that_hangs_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "ANSWER_SECONDS", 0.3)
    monkeypatch.setattr(sandbox, "WORK_SECONDS", 0.3)
    async with runner(tmp_path, lambda _: None) as executor:
        for ask in (executor.poll, executor.cancel, executor.discard):
            async with asyncio.timeout(20):
                with pytest.raises(ExecutorError, match=r"has not answered to .* for 0\.3 s") as caught:
                    await ask(HANDLE)
            assert caught.value.code == "system_fault.runner"


@pytest.mark.slow
async def test_the_end_of_a_job_is_waited_for_however_long_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "ANSWER_SECONDS", 0.1)
    async with runner(tmp_path, lambda _: None) as executor:
        waiting = asyncio.create_task(executor.poll(HANDLE, until_exit=True))
        await asyncio.sleep(0.5)
        assert not waiting.done()
        waiting.cancel()


@pytest.mark.slow
async def test_a_runner_that_hangs_while_a_job_runs_is_told_and_the_job_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sandbox, "ANSWER_SECONDS", 0.2)
    async with runner(tmp_path, lambda _: None) as executor:
        waiting = asyncio.create_task(executor.poll(HANDLE, until_exit=True))
        async with asyncio.timeout(20):
            while "runner.silent" not in caplog.text:
                await asyncio.sleep(0.05)
        assert not waiting.done()
        waiting.cancel()


@pytest.mark.slow
@pytest.mark.parametrize("nonsense", [b"[]", b"{}", b"nonsense", b"5"])
async def test_who_waits_is_not_forgotten_when_the_runner_says_nonsense(tmp_path: Path, nonsense: bytes) -> None:
    said: list[bytes] = [nonsense]

    def says(request: dict[str, Any]) -> bytes:
        return said.pop() if said else answer(request, phase="absent")

    async with runner(tmp_path, says) as executor, asyncio.timeout(20):
        assert (await executor.poll(HANDLE)).phase is Phase.absent


@pytest.mark.slow
async def test_requests_that_cost_a_link_each_are_given_up_in_their_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "ANSWER_SECONDS", 1.0)
    asked: list[dict[str, Any]] = []

    def says(request: dict[str, Any]) -> bytes:
        asked.append(request)
        return b"nonsense"

    async with runner(tmp_path, says) as executor, asyncio.timeout(20):
        with pytest.raises(ExecutorError, match=r"has not answered to 'poll' for 1 s"):
            await executor.poll(HANDLE)
    assert len(asked) > 1


@pytest.mark.slow
async def test_request_longer_than_the_runner_reads_is_refused_and_takes_no_other_with_it(tmp_path: Path) -> None:
    seen = asyncio.Event()

    def says(request: dict[str, Any]) -> bytes | None:
        seen.set()
        return None

    async with runner(tmp_path, says) as executor, asyncio.timeout(20):
        other = asyncio.create_task(executor.poll(HANDLE))
        await seen.wait()
        with pytest.raises(ExecutorError, match="1048576"):
            await executor.cancel({"job": "j" * (1 << 20)})
        assert not other.done()
        other.cancel()

"""The process that has the engine loaded: one start serves many inspections, and none outlives who asked."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from tests.site.policy.engine.test_apart import SOUND, sealed, told

from fedproc.common.tasks import StopFlag, StoppedError
from fedproc.site.policy.engine import apart
from fedproc.site.policy.engine.apart import inspect_apart
from fedproc.site.policy.engine.known import Known
from fedproc.site.policy.engine.warm import ForkServer, ServerGoneError

pytestmark = pytest.mark.process

REFUSED = [("table", "persons.floor", "refuse")]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ForkServer]:
    server = ForkServer()
    monkeypatch.setattr(apart, "SERVER", server)
    yield server
    if server.process is not None:
        server.process.kill()


def inspected(folder: Path) -> list[tuple[str, str, str]]:
    return told(inspect_apart([SOUND], sealed(folder, SOUND, {"n": 3, "host": "UB"}), 10, known(), StopFlag()))


def known() -> Known:
    return Known({"order": lambda: ["UB"]})


def until(holds: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


class Waiting:
    """An inspection that waits for its question, until it is given one or ended."""

    def __init__(self, server: ForkServer, flag: StopFlag | None = None) -> None:
        self.raised: BaseException | None = None
        self.code: int | None = None
        self._server, self._flag = server, flag or StopFlag()
        read, self.asks = os.pipe()
        self._question = os.fdopen(read, "rb")
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        until(lambda: server.process and psutil.Process(server.process.pid).children())
        assert server.process
        (self.process,) = psutil.Process(server.process.pid).children()

    def _run(self) -> None:
        with tempfile.TemporaryFile() as answer:
            try:
                self.code = self._server.run(self._question, answer, self._flag, time.monotonic() + 60)
            except (OSError, StoppedError) as error:
                self.raised = error

    def over(self) -> None:
        self._thread.join(60)
        assert not self._thread.is_alive()
        os.close(self.asks)
        self._question.close()


def test_ten_inspections_start_one_interpreter(
    tmp_path: Path, server: ForkServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[object] = []
    real = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **b: started.append(a) or real(*a, **b))
    assert [inspected(tmp_path) for _ in range(10)] == [REFUSED] * 10
    assert len(started) == 1


def test_inspections_side_by_side_use_one_server(tmp_path: Path, server: ForkServer) -> None:
    found: list[object] = []
    threads = [threading.Thread(target=lambda: found.append(inspected(tmp_path))) for _ in range(5)]
    sealed(tmp_path, SOUND, {"n": 3, "host": "UB"})
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == [REFUSED] * 5


def test_server_that_was_killed_is_started_again(tmp_path: Path, server: ForkServer) -> None:
    assert inspected(tmp_path) == REFUSED
    assert server.process
    before = server.process
    before.kill()
    assert inspected(tmp_path) == REFUSED
    assert server.process.pid != before.pid


def test_inspection_whose_server_is_killed_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = ForkServer()
    monkeypatch.setattr(apart, "SERVER", server)
    killed: list[int] = []
    ask = server._ask

    def ask_and_kill(descriptors: list[int]) -> subprocess.Popen[bytes]:
        process = ask(descriptors)
        if not killed:
            process.kill()
            killed.append(process.pid)
        return process

    monkeypatch.setattr(server, "_ask", ask_and_kill)
    assert inspected(tmp_path) == REFUSED
    assert server.process
    assert server.process.pid not in killed
    server.process.kill()


def test_server_that_ends_each_time_leaves_outputs_to_a_person(
    tmp_path: Path, server: ForkServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fedproc.site.policy.engine.warm._PROGRAM", "fedproc.no_such_program")
    assert inspected(tmp_path) == [("table", "look.checked", "review")]


def test_killed_server_takes_its_inspection_with_it(server: ForkServer) -> None:
    waiting = Waiting(server)
    assert server.process
    server.process.kill()
    until(lambda: not alive(waiting.process.pid))
    waiting.over()
    assert isinstance(waiting.raised, ServerGoneError)


def test_inspection_is_over_once_the_flag_has_stopped_it(server: ForkServer) -> None:
    flag = StopFlag()
    waiting = Waiting(server, flag)
    flag.set()
    waiting.over()
    assert isinstance(waiting.raised, StoppedError)
    assert not alive(waiting.process.pid)


def test_inspection_that_fails_does_not_end_the_server(tmp_path: Path, server: ForkServer) -> None:
    waiting = Waiting(server)
    os.write(waiting.asks, b"no question\n")
    waiting.over()
    assert (waiting.code, waiting.raised) == (1, None)
    before = server.process
    assert inspected(tmp_path) == REFUSED
    assert server.process is before


def test_inspection_has_no_descriptor_and_no_secret_of_ours(
    server: ForkServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEDPROC_PASSWORD", "hush")
    waiting = Waiting(server)
    folder = Path(f"/proc/{waiting.process.pid}")
    until(lambda: len(list((folder / "fd").iterdir())) == 3)
    links = {each.name: str(each.readlink()) for each in (folder / "fd").iterdir()}
    assert set(links) == {"0", "1", "2"}
    assert b"hush" not in (folder / "environ").read_bytes()
    assert server.process
    server.process.kill()
    waiting.over()


def test_server_ends_without_use_and_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = ForkServer(idle_seconds=0.05)
    monkeypatch.setattr(apart, "SERVER", server)
    for _ in range(2):
        assert inspected(tmp_path) == REFUSED
        assert server.process
        pid = server.process.pid
        until(lambda pid=pid: not psutil.pid_exists(pid))  # not even as a zombie


ASKING = """
import os, sys, tempfile, time
from fedproc.common.tasks import StopFlag
from fedproc.site.policy.engine.warm import ForkServer
question = os.fdopen(int(sys.argv[1]), "rb")
ForkServer().run(question, tempfile.TemporaryFile(), StopFlag(), time.monotonic() + 60)
"""


def test_nothing_is_left_of_an_orchestrator_that_was_killed() -> None:
    question, asks = os.pipe()  # the end that writes stays ours: no inspection ends for want of a question
    command = [sys.executable, "-c", ASKING, str(question)]
    with subprocess.Popen(command, pass_fds=[question]) as asking:
        orchestrator = psutil.Process(asking.pid)
        until(lambda: len(orchestrator.children(recursive=True)) == 2)
        left = [each.pid for each in orchestrator.children(recursive=True)]
        asking.send_signal(signal.SIGKILL)
    until(lambda: not any(alive(pid) for pid in left))
    os.close(question)
    os.close(asks)


def alive(pid: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False

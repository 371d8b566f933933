"""The five verbs: what each promises in ``fedproc.site.executors.base``."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import PurePosixPath

import pytest
from tests.support.executors import Harness, job_id

from fedproc.site.executors.base import ExecutorError, Mount, Phase, Stop

pytestmark = pytest.mark.needs_root

COUNT_STARTS = """
import pathlib, sys, time
with open("starts", "a") as starts:
    starts.write("x")
print("started", flush=True)
while not pathlib.Path("end").exists():
    time.sleep(0.02)
sys.exit(5)
"""
UNTIL_TOLD = """
import os, signal, sys, time
def told(number, frame):  # it may come while "ready" is being printed, and print may not be called within itself
    os.write(1, f"asked by {signal.Signals(number).name}\\n".encode())
    sys.exit(7)
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, told)
print("ready", flush=True)
while True:
    time.sleep(60)
"""
DEAF = """
import signal, subprocess, time
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
subprocess.Popen(["/bin/sleep", "1000"], start_new_session=True)
print("ready", flush=True)
while True:
    time.sleep(60)
"""


async def test_user_of_a_job_has_a_name_and_a_home(harness: Harness) -> None:
    """Libraries ask for them, and fail where there is no entry."""
    program = """
import getpass, os, pwd
entry = pwd.getpwuid(os.getuid())
print(entry.pw_name, entry.pw_dir, getpass.getuser(), os.path.expanduser("~"))
"""
    ended = await harness.run(harness.program("whoami", program))
    assert ended.out == b"tool /fedproc/work tool /fedproc/work\n", ended


async def test_a_job_has_its_command_environment_and_folder(harness: Harness) -> None:
    program = """
import os, sys
print(os.getcwd(), os.environ["GREETING"], sys.argv[1:])
print("to errors", file=sys.stderr)
open("output.txt", "w").write("written")
"""
    ended = await harness.run(
        harness.program("plain", program, "a b", "$HOME; `id`", environment={"GREETING": "hello there"})
    )
    assert ended.seen.phase is Phase.exited
    assert (ended.seen.exit_code, ended.seen.limit, ended.seen.cancelled) == (0, None, False)
    assert ended.out.decode() == "/fedproc/work hello there ['a b', '$HOME; `id`']\n"
    assert ended.errors == b"to errors\n"
    assert (harness.folder / "plain" / "work" / "output.txt").read_text() == "written"


async def test_times_and_usage_are_told(harness: Harness) -> None:
    seen = (await harness.run(harness.program("busy", "x = bytearray(30_000_000)\nsum(range(3_000_000))"))).seen
    assert seen.started is not None
    assert seen.ended is not None
    assert datetime.fromisoformat(seen.started) <= datetime.fromisoformat(seen.ended)
    assert seen.seconds is not None
    assert seen.seconds > 0
    if harness.backend.exact_usage:
        assert seen.usage.cpu_seconds
        assert seen.usage.memory_peak
        assert seen.usage.memory_peak >= 30_000_000


@pytest.mark.parametrize(("ending", "code"), [("exit 3", 3), ("kill -KILL $$", 137), ("kill -SEGV $$", 139)])
async def test_exit_codes_follow_the_shell(harness: Harness, ending: str, code: int) -> None:
    ended = await harness.run(harness.spec("code", "/bin/sh", "-c", ending))
    assert (ended.seen.exit_code, ended.seen.limit, ended.seen.cancelled) == (code, None, False)


async def test_a_command_that_is_not_there_is_the_tools_fault(harness: Harness) -> None:
    ended = await harness.run(harness.spec("missing", "/no/such/command"))
    assert ended.seen.exit_code == 127
    assert "/no/such/command" in ended.seen.detail


async def test_what_cannot_be_started_leaves_nothing(harness: Harness) -> None:
    spec = harness.spec("broken", "/bin/true", mounts=(Mount(harness.folder / "nowhere", PurePosixPath("/data")),))
    with pytest.raises(ExecutorError, match="nowhere"):
        await harness.executor.submit(spec)
    assert harness.backend.left() == []
    ended = await harness.run(replace(spec, mounts=()))
    assert ended.seen.exit_code == 0


async def test_what_is_kept_is_listed_until_it_is_discarded(harness: Harness) -> None:
    handle = await harness.submit(harness.spec("kept", "/bin/sh", "-c", "echo hello"))
    await harness.end(handle)
    before = datetime.now(UTC).timestamp()
    changed, size = (await harness.executor.records())[handle["job"]]
    assert before - 600 < changed <= before + 60
    assert size > 0
    await harness.executor.discard(handle)
    assert handle["job"] not in await harness.executor.records()


async def test_a_job_id_is_started_once(harness: Harness) -> None:
    spec = harness.program("once", COUNT_STARTS)
    first, second = await asyncio.gather(harness.submit(spec), harness.submit(spec))
    assert first == second
    await harness.said(first, b"started")
    assert await harness.submit(spec) == first
    (harness.folder / "once" / "work" / "end").touch()
    assert (await harness.end(first)).seen.exit_code == 5
    assert await harness.submit(spec) == first
    assert (await harness.end(first)).out == b"started\n"
    assert (harness.folder / "once" / "work" / "starts").read_text() == "x"


async def test_a_restarted_daemon_takes_up_what_runs(harness: Harness) -> None:
    spec = harness.program("taken-up", COUNT_STARTS)
    handle = json.loads(json.dumps(await harness.submit(spec)))
    await harness.said(handle, b"started")
    harness.restart()
    assert (await harness.executor.poll(handle)).phase is Phase.running
    assert await harness.submit(spec) == handle
    waiting = asyncio.create_task(harness.executor.poll(handle, until_exit=True))
    (harness.folder / "taken-up" / "work" / "end").touch()
    assert (await waiting).exit_code == 5
    harness.restart()
    ended = await harness.end(handle)
    assert (ended.seen.exit_code, ended.out) == (5, b"started\n")


async def test_what_ended_while_nobody_looked_is_known(harness: Harness) -> None:
    handle = await harness.submit(harness.spec("unseen", "/bin/sh", "-c", "echo done; exit 4"))
    harness.restart()
    seen = await harness.executor.poll(handle, until_exit=True)
    assert (seen.phase, seen.exit_code) == (Phase.exited, 4)


async def test_a_wait_can_be_given_up_and_begun_again(harness: Harness) -> None:
    handle = await harness.submit(harness.program("waited-for", COUNT_STARTS))
    await harness.said(handle, b"started")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await harness.executor.poll(handle, until_exit=True)
    seen = await harness.executor.poll(handle)
    assert (seen.phase, seen.exit_code) == (Phase.running, None)
    both = [asyncio.create_task(harness.executor.poll(handle, until_exit=True)) for _ in range(2)]
    (harness.folder / "waited-for" / "work" / "end").touch()
    assert [(await wait).exit_code for wait in both] == [5, 5]


async def test_what_is_not_known_is_absent(harness: Harness) -> None:
    handle = await harness.submit(harness.spec("gone", "/bin/true"))
    await harness.end(handle)
    await harness.executor.discard(handle)
    assert (await harness.executor.poll(handle)).phase is Phase.absent
    assert (await harness.executor.poll(handle, until_exit=True)).phase is Phase.absent
    assert await harness.log(handle) == b""
    await harness.executor.cancel(handle)
    await harness.executor.discard(handle)


async def test_logs_are_read_from_an_offset_while_it_runs(harness: Harness) -> None:
    spec = harness.program("talks", "import sys\nprint('oops', file=sys.stderr)\n" + COUNT_STARTS)
    handle = await harness.submit(spec)
    await harness.said(handle, b"started\n")
    assert await harness.log(handle, offset=5) == b"ed\n"
    assert await harness.log(handle, offset=100) == b""
    assert await harness.log(handle, "stderr") == b"oops\n"
    (harness.folder / "talks" / "work" / "end").touch()
    await harness.end(handle)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
async def test_cancel_asks_as_the_job_wants_to_be_asked(harness: Harness, name: str) -> None:
    handle = await harness.submit(harness.program("asked", UNTIL_TOLD, stop=Stop(name, 30)))
    await harness.said(handle, b"ready\n")
    await harness.executor.cancel(handle)
    await harness.executor.cancel(handle)
    ended = await harness.end(handle)
    assert ended.out == f"ready\nasked by {name}\n".encode()
    assert (ended.seen.exit_code, ended.seen.cancelled, ended.seen.limit) == (7, True, None)


async def test_what_does_not_listen_is_killed_with_all_its_children(harness: Harness) -> None:
    async with harness.neighbour():
        handle = await harness.submit(harness.program("deaf", DEAF, stop=Stop("SIGTERM", 0.5)))
        await harness.said(handle, b"ready\n")
        await harness.executor.cancel(handle)
        ended = await harness.end(handle)
        assert (ended.seen.exit_code, ended.seen.cancelled) == (137, True)


async def test_cancel_at_once_and_cancel_too_late(harness: Harness) -> None:
    handle = await harness.submit(harness.spec("early", "/bin/sleep", "1000", stop=Stop("SIGTERM", 1)))
    await harness.executor.cancel(handle)
    seen = (await harness.end(handle)).seen
    assert seen.cancelled
    assert seen.exit_code in {137, 143}
    handle = await harness.submit(harness.spec("late", "/bin/sh", "-c", "exit 3"))
    await harness.end(handle)
    await harness.executor.cancel(handle)
    seen = await harness.executor.poll(handle)
    assert (seen.exit_code, seen.cancelled) == (3, False)


async def test_cancel_at_any_moment_of_the_start_ends_it(harness: Harness) -> None:
    """Whether its sandbox is still being made, or its command is about to be there."""

    async def cancelled_after(milliseconds: int) -> bool:
        spec = harness.spec(f"early-{milliseconds}", "/bin/sleep", "1000", stop=Stop("SIGTERM", 20))
        handle = await harness.submit(spec)
        await asyncio.sleep(milliseconds / 1000)
        await harness.executor.cancel(handle)
        return (await harness.end(handle)).seen.cancelled

    async with asyncio.timeout(60):
        for first in range(0, 24, 6):
            assert all(await asyncio.gather(*map(cancelled_after, range(first, first + 6))))


async def test_discard_ends_what_runs_and_its_id_is_free_again(harness: Harness) -> None:
    async with harness.neighbour():
        spec = harness.program("discarded", DEAF)
        handle = await harness.submit(spec)
        await harness.said(handle, b"ready\n")
        waiting = asyncio.create_task(harness.executor.poll(handle, until_exit=True))
        await asyncio.sleep(0)
        await harness.executor.discard(handle)
        assert (await waiting).phase is not Phase.running
        assert (await harness.executor.poll(handle)).phase is Phase.absent
        again = await harness.run(replace(spec, command=("/bin/sh", "-c", "echo anew")))
        assert (again.seen.exit_code, again.out) == (0, b"anew\n")


async def test_processes_left_behind_end_with_the_command(harness: Harness) -> None:
    program = """
import subprocess
for _ in range(3):
    subprocess.Popen(["/bin/sleep", "1000"], start_new_session=True)
print("leaving")
"""
    async with harness.neighbour():
        ended = await harness.run(harness.program("parent", program))
        assert (ended.seen.exit_code, ended.out) == (0, b"leaving\n")


async def test_many_at_a_time_each_with_its_own_end(harness: Harness) -> None:
    specs = [harness.spec(f"many-{n}", "/bin/sh", "-c", f"echo {n}; exit {n}") for n in range(20)]
    ended = await asyncio.gather(*map(harness.run, specs))
    assert [(e.seen.exit_code, e.out) for e in ended] == [(n, f"{n}\n".encode()) for n in range(20)]


async def test_a_step_finds_what_the_step_before_it_left(harness: Harness) -> None:
    """Also what a tool put there to trap whoever lays the folder out anew: links are left alone."""
    outside = harness.folder / "outside"
    outside.write_text("not yours")
    before = outside.stat()
    trap = (
        f"import os\nos.symlink({str(outside)!r}, 'link')\nos.symlink('/etc', 'folder')\nopen('left', 'w').write('x')"
    )
    assert (await harness.run(harness.program("steps", trap))).seen.exit_code == 0
    spec = replace(
        harness.program("steps", "print(open('left').read())\nopen('left', 'w').write('y')"), job=job_id("steps") + "-1"
    )
    ended = await harness.run(spec)
    assert (ended.seen.exit_code, ended.out) == (0, b"x\n"), ended.errors
    assert (outside.stat().st_uid, outside.read_text()) == (before.st_uid, "not yours")


async def test_what_is_lost_with_its_keeper_is_said_to_be_lost(harness: Harness) -> None:
    """Not the tool's fault: no exit code, and the next job runs."""
    handle = await harness.submit(harness.program("lost", UNTIL_TOLD))
    await harness.said(handle, b"ready\n")
    waiting = asyncio.create_task(harness.executor.poll(handle, until_exit=True))
    harness.backend.crash()  # by this thread: what another one starts ends with it
    seen = await waiting
    assert (seen.phase, seen.exit_code, seen.cancelled) == (Phase.exited, None, False)
    assert "while the job ran" in seen.detail
    assert (await harness.run(harness.spec("next", "/bin/true"))).seen.exit_code == 0

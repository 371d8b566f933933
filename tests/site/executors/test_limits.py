"""Limits: what goes beyond one is ended, is told by which, and disturbs nobody."""

from __future__ import annotations

import pytest
from tests.support.executors import Ended, Harness

pytestmark = pytest.mark.needs_root

ONE_FILE = """
block = bytes(1_000_000)
with open("large", "wb") as file:
    for _ in range(10_000):
        file.write(block)
"""
MANY_FILES = """
block = bytes(1_000_000)
for number in range(10_000):
    open(f"file-{number}", "wb").write(block)
"""
# less than its memory: where the folder is in memory, what a job writes counts as its own
REMOVED_FILES = """
import os, time
block, kept = bytes(1_000_000), []
for number in range(50):
    kept.append(open(f"file-{number}", "wb"))
    kept[-1].write(block)
    kept[-1].flush()
    os.unlink(f"file-{number}")
time.sleep(1000)
"""
NO_CONTENT = """
import os
for folder in range(1000):
    os.mkdir(str(folder))
    for number in range(1000):
        open(f"{folder}/{number}", "wb").close()
"""
FORKS = """
import os, time
while True:
    try:
        os.fork()
    except OSError:
        time.sleep(0.01)
"""
THREADS = """
import threading, time
while True:
    threading.Thread(target=time.sleep, args=(1000,)).start()
"""
MEMORY = """
import time
time.sleep(1)  # Docker hears of memory from a moment after the start on
kept = [bytearray(10_000_000) for _ in range(1000)]
"""
MEMORY_OF_A_CHILD = f"""
import subprocess, sys, time
subprocess.run([sys.executable, "-c", {MEMORY!r}])
time.sleep(1000)
"""
MEMORY_AS_FILES = """
import time
block, kept = bytes(1_000_000), []
for number in range(1000):
    for folder in ("/tmp", "/dev/shm"):
        try:
            open(f"{folder}/{number}", "wb").write(block)
        except OSError:
            kept.append(bytearray(1_000_000))
"""


async def test_what_it_cannot_enforce_is_said_before_a_job_comes(harness: Harness) -> None:
    offer = await harness.executor.offer()
    assert offer.obstacle == ""
    assert offer.detail
    assert offer.lacks.keys() == harness.backend.lacks
    assert all(offer.lacks.values())


async def _limited(harness: Harness, source: str, limit: str, **limits: float) -> Ended:
    async with harness.neighbour():
        ended = await harness.run(harness.program("greedy", source, limits=limits))
    assert ended.seen.limit == limit, ended
    assert ended.seen.detail
    return ended


@pytest.mark.parametrize("source", [MEMORY, MEMORY_OF_A_CHILD, MEMORY_AS_FILES], ids=["one", "child", "files"])
async def test_memory(harness: Harness, source: str) -> None:
    ended = await _limited(harness, source, "memory")
    assert "96 MB" in ended.seen.detail


@pytest.mark.parametrize(
    "source",
    [ONE_FILE, MANY_FILES, REMOVED_FILES],
    ids=["one-file", "many-files", "removed-files"],
)
async def test_disk(harness: Harness, source: str) -> None:
    ended = await _limited(harness, source, "disk")
    assert "20 MB" in ended.seen.detail
    used = sum(path.stat().st_blocks * 512 for path in (harness.folder / "greedy" / "work").rglob("*"))
    assert used < 5_000_000_000


async def test_files_without_content_count_too(harness: Harness) -> None:
    await _limited(harness, NO_CONTENT, "disk", disk=5_000_000)


async def test_folders_in_folders(harness: Harness) -> None:
    """They break those who clean up, so they are ended as a matter of disk."""
    nest = "import os\nfor _ in range(2000):\n    os.mkdir('d')\n    os.chdir('d')\n"
    ended = await _limited(harness, nest, "disk")
    assert "nested" in ended.seen.detail


@pytest.mark.parametrize("source", [FORKS, THREADS], ids=["forks", "threads"])
async def test_processes(harness: Harness, source: str) -> None:
    if "pids" in harness.backend.lacks:
        pytest.skip("this engine has no control groups here: what forks without end is the machine's for half a second")
    ended = await _limited(harness, source, "pids")
    assert "24" in ended.seen.detail


async def test_binary_megabytes_are_cut_and_counted(harness: Harness) -> None:
    program = "import os, sys\nfor _ in range(20):\n    os.write(1, bytes(range(256)) * 4000)\n    os.write(2, b'e')\n"
    async with harness.neighbour():
        ended = await harness.run(harness.program("loud", program))
    assert (ended.seen.exit_code, ended.seen.limit) == (0, None)
    assert ended.out == (bytes(range(256)) * 4000)[:1_000_000]
    assert ended.errors == b"e" * 20
    assert "output" in ended.seen.detail


async def test_processors_are_shared_out(harness: Harness) -> None:
    """Four that are busy for a second get half a second between them."""
    if "cpus" in harness.backend.lacks:
        pytest.skip("this engine has no control groups here, which it says in its offer")
    program = """
import multiprocessing, time
def busy(seconds):
    until, used = time.monotonic() + seconds, time.process_time()
    while time.monotonic() < until:
        pass
    return time.process_time() - used
with multiprocessing.Pool(4) as pool:
    print(sum(pool.map(busy, [1.0] * 4)))
"""
    ended = await harness.run(harness.program("busy", program, limits={"cpus": 0.5}))
    assert ended.seen.exit_code == 0, ended
    assert float(ended.out) < 1.0


async def test_what_stays_within_its_limits_is_left_alone(harness: Harness) -> None:
    program = """
import subprocess
block = bytearray(50_000_000)
open("file", "wb").write(block[:18_000_000])
children = [subprocess.Popen(["/bin/sleep", "1"]) for _ in range(10)]
print(sum(child.wait() for child in children))
"""
    ended = await harness.run(harness.program("modest", program))
    assert (ended.seen.exit_code, ended.seen.limit, ended.out) == (0, None, b"0\n"), ended

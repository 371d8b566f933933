"""A driver that hangs is told as such, and nothing else waits for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.nvml import stub_libraries  # noqa: F401 (a fixture)

ASK = """
import asyncio, json, threading
from fedproc.site.executors import device_nodes
from fedproc.site.executors.base import ExecutorError

async def main():
    device_nodes.DRIVER_SECONDS, ticks, nodes = 1.0, 0, device_nodes.GpuNodes()
    async def tick():
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0.05)
    ticking, said = asyncio.create_task(tick()), []
    for _ in range(2):
        try:
            said.append(await nodes.of(("GPU-b",)))
        except ExecutorError as error:
            said.append([error.code, error.message])
    ticking.cancel()
    print(json.dumps({"said": said, "ticks": ticks, "threads": threading.active_count()}), flush=True)

asyncio.run(main())
"""


def asked(library: Path, facts: Path, *lines: str) -> dict[str, object]:
    facts.write_text("\n".join(lines) + "\n")
    environment = os.environ | {"LD_LIBRARY_PATH": str(library), "STUB_NVML": str(facts)}
    done = subprocess.run([sys.executable, "-c", ASK], env=environment, stdout=subprocess.PIPE, timeout=60, check=True)
    found: dict[str, object] = json.loads(done.stdout)
    return found


@pytest.fixture
def library(stub_libraries: Callable[[str], Path]) -> Path:  # noqa: F811
    return stub_libraries("new")


def test_a_gpu_has_its_device_file(library: Path, tmp_path: Path) -> None:
    found = asked(library, tmp_path / "facts", "gpu GPU-a 1 8 6 1 0 0 A", "gpu GPU-b 1 8 6 1 0 0 B")
    assert found["said"] == [["/dev/nvidia1"], ["/dev/nvidia1"]]


def test_a_gpu_that_is_not_there_is_told(library: Path, tmp_path: Path) -> None:
    found = asked(library, tmp_path / "facts", "gpu GPU-a 1 8 6 1 0 0 A")
    assert "NVML error 6" in str(found["said"])


def test_a_driver_that_hangs_is_told_and_holds_nothing_up(library: Path, tmp_path: Path) -> None:
    found = asked(library, tmp_path / "facts", "hang")
    assert str(found["said"]).count("has not answered for 1 s (NVML hangs)") == 2
    assert int(str(found["ticks"])) > 20, "the loop went on meanwhile"
    assert found["threads"] == 2, "one hangs; a second one was not sent after it"

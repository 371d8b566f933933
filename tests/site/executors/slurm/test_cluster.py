"""What only a cluster can do to a job: its controller goes away, it is asked twice, somebody else cancels."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.executors import Harness, SlurmBackend
from tests.support.needs import needs
from tests.support.slurm import needs_slurm

from fedproc.site.executors.base import Phase
from fedproc.site.executors.slurm.allocation import CLAIM, ORDER, main

pytestmark = [pytest.mark.needs_root, needs_slurm]

UNTIL_TOLD = """
import pathlib, time
print("here", flush=True)
while not pathlib.Path("end").exists():
    time.sleep(0.02)
"""


@pytest.fixture(scope="module")
@needs("needs_root")
def backend() -> Iterator[SlurmBackend]:
    with tempfile.TemporaryDirectory(prefix="fedproc-contract-") as folder:
        Path(folder).chmod(0o755)
        made = SlurmBackend(Path(folder))
        try:
            yield made
        finally:
            made.close()


async def test_jobs_go_on_while_the_controller_is_away(harness: Harness, backend: SlurmBackend) -> None:
    handle = await harness.submit(harness.program("on", UNTIL_TOLD))
    await harness.said(handle, b"here")
    await asyncio.to_thread(backend.cluster.stop_controller)
    try:
        assert (await harness.executor.offer()).obstacle
        assert (await harness.executor.poll(handle)).phase is Phase.running
        harness.restart()
        assert (await harness.executor.poll(handle)).phase is Phase.running
        (harness.folder / "on" / "work" / "end").touch()
        ended = await harness.end(handle)
        assert (ended.seen.exit_code, ended.out) == (0, b"here\n")
    finally:
        backend.cluster.start_controller()  # by this thread: what another one starts ends with it
    assert not (await harness.executor.offer()).obstacle


async def test_what_the_cluster_took_is_found_again_by_a_daemon_that_was_lost_then(
    harness: Harness, backend: SlurmBackend
) -> None:
    """It ended between ``sbatch`` and its note of the number."""
    spec = harness.program("twice", UNTIL_TOLD)
    handle = await harness.submit(spec)
    await harness.said(handle, b"here")
    number = Path(handle["folder"]) / "number"
    before = number.read_text()
    number.unlink()
    (Path(handle["folder"]) / "record.jsonl").rename(Path(handle["folder"]) / "kept")
    harness.restart()
    assert await harness.submit(spec) == handle
    assert number.read_text() == before
    assert len(backend.cluster.queue()) == 1
    (Path(handle["folder"]) / "kept").rename(Path(handle["folder"]) / "record.jsonl")
    (harness.folder / "twice" / "work" / "end").touch()
    assert (await harness.end(handle)).seen.exit_code == 0


async def test_whom_somebody_else_cancels_is_lost_and_not_the_tools_fault(
    harness: Harness, backend: SlurmBackend
) -> None:
    handle = await harness.submit(harness.program("foreign", UNTIL_TOLD))
    await harness.said(handle, b"here")
    await asyncio.to_thread(backend.cluster.cancel_all)
    seen = (await harness.end(handle)).seen
    assert (seen.exit_code, seen.cancelled) == (None, False)
    assert "somebody else" in seen.detail


async def test_a_job_that_waits_in_the_queue_is_cancelled_there(harness: Harness) -> None:
    large = {"memory": 90_000_000_000}  # of a node that says it has 100 GB
    first = await harness.submit(harness.program("first", UNTIL_TOLD, limits=large))
    await harness.said(first, b"here")
    handle = await harness.submit(harness.program("waits", UNTIL_TOLD, limits=large))
    assert (await harness.executor.poll(handle)).phase is Phase.running
    await harness.executor.cancel(handle)
    seen = (await harness.end(handle)).seen
    assert (seen.exit_code, seen.cancelled) == (143, True)
    (harness.folder / "first" / "work" / "end").touch()
    assert (await harness.end(first)).seen.exit_code == 0


def test_whoever_is_started_second_does_nothing(tmp_path: Path) -> None:
    (tmp_path / ORDER).write_text("no order at all")
    (tmp_path / CLAIM).touch()
    main(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {ORDER, CLAIM}

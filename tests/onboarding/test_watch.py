"""The watch mode: a lost GPU, a broken driver and a full disk each raise an alarm until they are mended."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.needs import needs

from fedproc.onboarding.watch import WatchSettings, take_sample, watch

GPU_A, GPU_B = "GPU-a", "GPU-b"


def codes(sample: dict[str, Any]) -> list[str]:
    return [alarm["code"] for alarm in sample["alarms"]]


@pytest.fixture
def stub(gpus: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    made = gpus()
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    return made


async def samples(stub: Any, settings: WatchSettings, *scenes: list[str]) -> list[dict[str, Any]]:
    """One sample of each scene, by one watch."""
    found: list[dict[str, Any]] = []
    watching = watch(settings)
    for scene in scenes:
        stub.say(*scene)
        found.append(await anext(watching))
    await watching.aclose()  # type: ignore[attr-defined]
    return found


async def test_a_gpu_that_falls_off_is_told_until_it_is_back(stub: Any, gpu_line: Any, tmp_path: Path) -> None:
    both = [gpu_line(uuid=GPU_A), gpu_line(uuid=GPU_B)]
    one_lost = [gpu_line(uuid=GPU_A), gpu_line(uuid=GPU_B, fault=15)]
    settings = WatchSettings((tmp_path,), reserve_bytes=0, interval=0)
    well, one, none, again = await samples(stub, settings, both, one_lost, ["init 15"], both)
    assert (codes(well), well["unfit"], [g["uuid"] for g in well["gpus"]]) == ([], [], [GPU_A, GPU_B])
    assert (codes(one), one["unfit"], [g["uuid"] for g in one["gpus"]]) == (["gpu-lost"], [], [GPU_A])
    assert (one["alarms"][0]["uuid"], "NVIDIA A10 cannot be used" in one["alarms"][0]["what"]) == (GPU_B, True)
    assert (codes(none), none["unfit"], none["gpus"]) == (["gpu-driver"], ["gpu"], [])
    assert "fallen off the bus" in none["alarms"][0]["what"]
    assert "nvidia-smi" in none["alarms"][0]["cure"]
    assert (codes(again), again["unfit"]) == ([], [])


async def test_a_gpu_that_is_expected_is_missed_from_the_start(stub: Any, gpu_line: Any, tmp_path: Path) -> None:
    settings = WatchSettings((tmp_path,), reserve_bytes=0, expected_gpus=(GPU_B,), interval=0)
    (sample,) = await samples(stub, settings, [gpu_line(uuid=GPU_A)])
    assert (codes(sample), sample["alarms"][0]["uuid"]) == (["gpu-lost"], GPU_B)


@pytest.mark.parametrize("scene", ["crash", "init 9", "init 18", "init 4"])
async def test_a_driver_that_breaks_makes_the_host_unfit_for_gpu_jobs(
    stub: Any, gpu_line: Any, tmp_path: Path, scene: str
) -> None:
    settings = WatchSettings((tmp_path,), reserve_bytes=0, interval=0)
    _, broken = await samples(stub, settings, [gpu_line()], [scene])
    assert (codes(broken), broken["unfit"]) == (["gpu-driver"], ["gpu"])


async def test_a_host_that_never_had_a_gpu_raises_no_alarm(stub: Any, tmp_path: Path) -> None:
    settings = WatchSettings((tmp_path,), reserve_bytes=0, interval=0)
    first, second = await samples(stub, settings, ["driver 535.1"], ["init 9"])
    assert codes(first) == codes(second) == []
    assert first["unfit"] == second["unfit"] == []


async def test_mig_instances_are_listed_and_missed(stub: Any, gpu_line: Any, tmp_path: Path) -> None:
    a100 = gpu_line("NVIDIA A100", 40536, uuid=GPU_A, mig=1, major=8, minor=0)
    settings = WatchSettings((tmp_path,), reserve_bytes=0, expected_gpus=("MIG-1",), interval=0)
    there, gone = await samples(stub, settings, [a100, "instance 0 MIG-1 4864 A100 MIG 1g.5gb"], [a100])
    assert there["gpus"][0]["mig"] == [{"uuid": "MIG-1", "name": "A100 MIG 1g.5gb", "memory_bytes": 4864 << 20}]
    assert (there["gpus"][0]["compute_capability"], codes(there)) == ("8.0", [])
    assert (codes(gone)[0], gone["unfit"]) == ("gpu-lost", ["gpu"])


@pytest.fixture
@needs("needs_root")
def small_disk(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("not root: a filesystem cannot be mounted here")
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m,nr_inodes=400", "none", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


async def test_a_disk_that_fills_is_told_until_there_is_room_again(small_disk: Path) -> None:
    (small_disk / "sub").mkdir()
    settings = WatchSettings((small_disk, small_disk / "sub"), reserve_bytes=8 << 20)
    assert codes(await take_sample(settings)) == []
    (small_disk / "big").write_bytes(bytes(9 << 20))
    full = await take_sample(settings)
    assert (codes(full), full["unfit"], full["disks"][0]["ok"]) == (["disk-full"], ["disk"], False)
    assert f"free space on {small_disk}" in full["alarms"][0]["cure"]
    (small_disk / "big").unlink()
    assert codes(await take_sample(settings)) == []


async def test_a_disk_without_inodes_is_full(small_disk: Path) -> None:
    for number in range(398):
        (small_disk / str(number)).touch()
    sample = await take_sample(WatchSettings((small_disk,), reserve_bytes=0))
    assert codes(sample) == ["disk-full"]
    assert "inodes free" in sample["alarms"][0]["what"]


async def test_a_disk_that_became_read_only_is_told(small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)  # noqa: ASYNC221 - nothing else runs
    sample = await take_sample(WatchSettings((small_disk,), reserve_bytes=0))
    assert (codes(sample), sample["unfit"]) == (["disk-read-only"], ["disk"])


@pytest.mark.process
async def test_the_heartbeat_can_carry_a_sample_as_it_is(tmp_path: Path) -> None:
    import json

    sample = await take_sample(WatchSettings((tmp_path,), reserve_bytes=0))
    assert json.loads(json.dumps(sample)) == sample
    assert {"time", "seconds", "gpus", "disks", "alarms", "unfit"} == set(sample)

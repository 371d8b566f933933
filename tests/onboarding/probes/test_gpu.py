"""GPU verdicts through the real binding, on a stub of NVIDIA's library that the real loader loads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.process

GPU_LINES = ("gpu.cuda", "gpu.vram", "gpu.compute", "gpu.driver")


def of(result: Any) -> dict[str, str]:
    return {name.removeprefix("gpu."): verdict for name, verdict in result.verdicts.items()}


@pytest.mark.parametrize(
    ("profile", "mib", "verdict", "code"),
    [
        # 12 GB less 8 % are 11304.96 MiB, 24 GB 22609.92, 16 GB 15073.28
        ("d6.1", 11304, "fails", 2),
        ("d6.1", 11305, "meets-minimum", 1),
        ("d6.1", 12288, "meets-minimum", 1),
        ("d6.1", 22609, "meets-minimum", 1),
        ("d6.1", 22610, "meets-recommended", 0),
        ("d6.1", 23028, "meets-recommended", 0),
        ("tier3", 15073, "fails", 2),
        ("tier3", 15074, "meets-recommended", 0),
        ("tier3", 15360, "meets-recommended", 0),
    ],
)
def test_the_verdict_turns_exactly_at_the_nominal_size_less_the_tolerance(
    gpus: Any, gpu_line: Callable[..., str], profile: str, mib: int, verdict: str, code: int
) -> None:
    result = gpus().say(gpu_line(mib=mib))("--only", "gpu", "--profile", profile)
    assert of(result)["vram"] == verdict
    assert result.code == code


@pytest.mark.parametrize(("cores", "verdict"), [(4864, "meets-recommended"), (4800, "fails"), (0, "could-not-tell")])
def test_tier3_asks_for_more_than_150_tensor_cores(gpus: Any, gpu_line: Any, cores: int, verdict: str) -> None:
    """4864 CUDA cores of this architecture come with 152 tensor cores, 4800 with 150."""
    result = gpus().say(gpu_line(mib=16384, cores=cores))("--only", "gpu", "--profile", "tier3")
    assert of(result)["tensor-cores"] == verdict


@pytest.mark.parametrize(
    ("major", "minor", "driver", "expected"),
    [
        (5, 0, "525.60.13", ("meets-recommended", "meets-recommended")),
        (3, 7, "525.60.13", ("fails", "meets-recommended")),
        (8, 6, "525.60.12", ("meets-recommended", "fails")),
        (8, 6, "470.223.02", ("meets-recommended", "fails")),
        (12, 0, "580.65.06", ("meets-recommended", "meets-recommended")),
    ],
)
def test_capability_and_driver_are_compared_as_versions(
    gpus: Any, gpu_line: Any, major: int, minor: int, driver: str, expected: tuple[str, str]
) -> None:
    result = gpus().say(f"driver {driver}", gpu_line(major=major, minor=minor))("--only", "gpu")
    assert (of(result)["compute"], of(result)["driver"]) == expected


def test_of_several_gpus_the_one_with_most_memory_counts_in_every_line(gpus: Any, gpu_line: Any) -> None:
    small_and_new = gpu_line("NVIDIA T400", 4096, uuid="GPU-a", major=7, minor=5)
    large_and_old = gpu_line("Tesla K80", 24576, uuid="GPU-b", major=3, minor=7)
    result = gpus().say(small_and_new, large_and_old)("--only", "gpu")
    assert of(result) == {
        "cuda": "meets-recommended",
        "vram": "meets-recommended",
        "compute": "fails",
        "driver": "meets-recommended",
    }
    assert result.lines["gpu.cuda"]["measured"].startswith("2 GPUs: GPU 0: NVIDIA T400, 4.0 GiB; GPU 1: Tesla K80")
    assert "GPU 1: Tesla K80" in result.lines["gpu.compute"]["measured"]


def test_a_gpu_in_mig_mode_is_worth_its_largest_instance(gpus: Any, gpu_line: Any) -> None:
    lines = [gpu_line("NVIDIA A100", 40536, mig=1, major=8, minor=0), "instance 0 MIG-1 4864 A100 MIG 1g.5gb"]
    result = gpus().say(*lines)("--only", "gpu")
    assert of(result)["cuda"] == "meets-recommended"
    assert of(result)["vram"] == "fails"
    assert "in MIG mode: 4.8 GiB" in result.lines["gpu.vram"]["measured"]
    larger = gpus().say(*lines, "instance 0 MIG-2 20096 A100 MIG 3g.20gb")("--only", "gpu")
    assert of(larger)["vram"] == "meets-minimum"


def test_mig_mode_without_an_instance_leaves_nothing_to_use(gpus: Any, gpu_line: Any) -> None:
    result = gpus().say(gpu_line("NVIDIA A100", 40536, mig=1))("--only", "gpu")
    assert set(of(result)) == {name.removeprefix("gpu.") for name in GPU_LINES}
    assert of(result)["cuda"] == of(result)["vram"] == "fails"
    assert "nvidia-smi mig" in result.lines["gpu.cuda"]["cure"]


@pytest.mark.parametrize(
    ("code", "cuda", "vram", "says"),
    [
        (9, "fails", "could-not-tell", "kernel driver is not loaded"),
        (18, "fails", "could-not-tell", "different versions"),
        (15, "fails", "could-not-tell", "fallen off the bus"),
        (4, "could-not-tell", "could-not-tell", "NVML error 4"),
        (999, "could-not-tell", "could-not-tell", "NVML error 999"),
    ],
)
def test_a_broken_driver_says_so(gpus: Any, code: int, cuda: str, vram: str, says: str) -> None:
    result = gpus().say(f"init {code}")("--only", "gpu")
    assert (of(result)["cuda"], of(result)["vram"]) == (cuda, vram)
    assert says in result.lines["gpu.cuda"]["measured"]
    assert "nvidia-smi" in result.lines["gpu.cuda"]["cure"]
    assert result.code == 2


def test_one_lost_gpu_of_two_is_named_and_the_other_counts(gpus: Any, gpu_line: Any) -> None:
    result = gpus().say(gpu_line(uuid="GPU-a", fault=15), gpu_line(uuid="GPU-b"))("--only", "gpu")
    assert of(result)["cuda"] == "meets-recommended"
    assert "GPU 0: cannot be used (NVML error 15" in result.lines["gpu.cuda"]["measured"]


def test_a_driver_that_answers_but_has_no_device_is_no_gpu(gpus: Any) -> None:
    result = gpus().say("driver 535.104.05")("--only", "gpu")
    assert of(result)["cuda"] == of(result)["vram"] == "fails"
    assert result.lines["gpu.cuda"]["measured"].startswith("0 GPUs")


def test_no_nvml_is_no_gpu_and_no_crash(check: Any) -> None:
    result = check("--only", "gpu")
    if result.report["facts"]["gpu"]["state"] == "ready":
        pytest.skip("this machine has a working NVIDIA driver")
    assert set(of(result).values()) == {"fails"}
    assert "no NVML" in result.lines["gpu.cuda"]["measured"]


def test_a_library_that_cannot_be_loaded_is_broken_not_absent(gpus: Any, tmp_path: Any) -> None:
    (tmp_path / "libnvidia-ml.so.1").write_bytes(b"not a library")
    checker = gpus().say("driver 1")
    checker.environment["LD_LIBRARY_PATH"] = str(tmp_path)
    result = checker("--only", "gpu")
    assert of(result)["cuda"] == "fails"
    assert "does not load" in result.lines["gpu.cuda"]["measured"]


def test_an_old_driver_without_the_newer_calls_still_tells_memory_and_version(gpus: Any, gpu_line: Any) -> None:
    result = gpus("old").say("driver 440.33.01", gpu_line())("--only", "gpu", "--profile", "d6.1")
    assert of(result)["vram"] == "meets-recommended"
    assert of(result)["driver"] == "fails"
    assert result.report["facts"]["gpu"]["gpus"][0]["tensor_cores"] is None


def test_an_ancient_driver_is_called_too_old(gpus: Any, gpu_line: Any) -> None:
    result = gpus("ancient").say(gpu_line())("--only", "gpu")
    assert of(result)["cuda"] == "fails"
    assert "too old" in result.lines["gpu.cuda"]["measured"]


def test_a_driver_that_crashes_takes_only_the_gpu_lines_along(gpus: Any) -> None:
    result = gpus().say("crash")("--only", "gpu,memory")
    assert of(result)["cuda"] == "could-not-tell"
    assert "SIGSEGV" in result.lines["gpu.cuda"]["measured"]
    assert result.verdicts["memory.size"] != "could-not-tell"


@pytest.mark.slow
def test_a_driver_that_hangs_does_not_hold_the_check_up(gpus: Any) -> None:
    result = gpus().say("hang")("--only", "gpu,memory")
    assert "did not answer within" in result.lines["gpu.cuda"]["measured"]
    assert result.verdicts["memory.size"] != "could-not-tell"


def test_a_name_that_would_steer_the_terminal_is_shown_harmless(gpus: Any, gpu_line: Any) -> None:
    done = gpus().say(gpu_line("Evil\x1b[2J<script>")).run("check", "--only", "gpu")
    assert "\x1b" not in done.stdout
    assert "Evil?[2J<script>" in done.stdout

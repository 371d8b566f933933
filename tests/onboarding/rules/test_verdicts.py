"""Every profile's verdict turns at its boundary: the rules on facts, against arithmetic of the tests' own."""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedproc.onboarding.model.facts import (
    CertificateFacts,
    CpuFacts,
    CredentialFacts,
    DataApiFacts,
    DataFacts,
    Disk,
    DiskFacts,
    Engine,
    EngineFacts,
    Facts,
    Gpu,
    GpuFacts,
    MemoryFacts,
    ServiceFacts,
    SystemFacts,
    Unknown,
)
from fedproc.onboarding.model.report import Line, ProfileStamp, Report, Verdict
from fedproc.onboarding.profile import profile
from fedproc.onboarding.rules import CHECKS, TOPICS, evaluate

GIB, GB = 2**30, 10**9
BEST, LEAST, FAILS, UNTOLD = Verdict.RECOMMENDED, Verdict.MINIMUM, Verdict.FAILS, Verdict.UNKNOWN
DISK = Disk("/srv", "/", "/dev/sda1 (ext4)", 1000 * GB, 500 * GB, 10**6, 10**6, False, 1000 * GB, True)
DISKS = DiskFacts(system=DISK, work=DISK, data=DataFacts(DISK, 0, True), dataset_bytes=100 * GB)
SYSTEM = SystemFacts(
    "h", "debian", "12", "Debian 12", "6.1", "x86_64", "3.11.2", False, "v2", ("cpu", "memory", "pids")
)
DOCKER = Engine("docker", "26.1", "usable", "cgroup v2", False)
CPU = CpuFacts("AMD", "x86_64", 2, 32, 64, 64, 3.0, "stated")
MEMORY = MemoryFacts(128 * GIB, 120 * GIB, None, 8, True, "")
GPU = Gpu(0, "NVIDIA A100", "GPU-0", 80 * GIB, "8.0", 6912, 432)
GPUS = GpuFacts("ready", driver="560.35.03", cuda="12.6", gpus=(GPU,))
API = ServiceFacts(
    "api", "https://api.example.org", None, "answers 200", skew_seconds=0.0, skew_error=0.5, tls="TLSv1.3"
)
CERTIFICATE = CertificateFacts("CN=UB", "CN=CA", "2025-01-01T00:00:00+00:00", "2027-01-01T00:00:00+00:00", True, 90.0)
CREDENTIALS = CredentialFacts(CERTIFICATE, "", True, "", (), ("/k",))
GOOD = Facts(
    GPUS,
    CPU,
    MEMORY,
    DISKS,
    SYSTEM,
    EngineFacts((DOCKER,)),
    CREDENTIALS,
    (DataApiFacts("/d", detail="folder"),),
    (API,),
)


def lines(profile_id: str, facts: Facts) -> dict[str, Line]:
    return {line.id: line for line in evaluate(profile.load(profile_id).requirements, facts, TOPICS)}


def verdict(profile_id: str, check: str, **changed: Any) -> Verdict:
    return lines(profile_id, dataclasses.replace(GOOD, **changed))[check].verdict


def code(profile_id: str, facts: Facts) -> int:
    found = evaluate(profile.load(profile_id).requirements, facts, TOPICS)
    return Report("p", "h", "2025-01-01T00:00:00+00:00", 0.1, ProfileStamp("x", "x", "0"), (), found, facts).exit_code


@pytest.mark.parametrize("profile_id", profile.built_in())
def test_a_machine_that_has_everything_meets_all_that_is_recommended(profile_id: str) -> None:
    found = lines(profile_id, GOOD)
    assert {line.verdict for line in found.values()} == {BEST}
    assert not [line.id for line in found.values() if line.cure]
    assert all(line.source and line.measured for line in found.values())
    assert code(profile_id, GOOD) == 0


@pytest.mark.parametrize("profile_id", profile.built_in())
def test_what_was_not_measured_is_never_guessed_and_says_why_and_what_to_do(profile_id: str) -> None:
    nothing = Facts(*(Unknown("the tool is missing") for _ in range(7)))
    found = lines(profile_id, nothing)
    assert {line.verdict for line in found.values()} == {UNTOLD}
    assert all(line.measured and line.cure for line in found.values())
    assert code(profile_id, nothing) == 2


SIZES = [
    ("d6.1", "memory.size", 32, 64),
    ("d6.1-cpu", "memory.size", 32, 64),
    ("tier2", "memory.size", 32, None),
    ("tier3", "memory.size", 64, 128),
    ("d6.1", "gpu.vram", 12, 24),
    ("tier3", "gpu.vram", 16, None),
]


def nominal(size: int, least: int, recommended: int | None) -> Verdict:
    """Nominal GB as makers of memory count them, of which 8 % may be missing."""
    if Fraction(size, GIB) < Fraction(least * 92, 100):
        return FAILS
    return BEST if recommended is None or Fraction(size, GIB) >= Fraction(recommended * 92, 100) else LEAST


@pytest.mark.slow
@given(size=st.integers(0, 200 * GIB), case=st.sampled_from(SIZES))
def test_memory_and_vram_of_any_size(size: int, case: tuple[str, str, int, int | None]) -> None:
    profile_id, check, least, recommended = case
    assert verdict(profile_id, check, **sized(check, size)) is nominal(size, least, recommended)


@pytest.mark.parametrize("case", SIZES, ids=str)
def test_memory_and_vram_turn_at_the_very_byte(case: tuple[str, str, int, int | None]) -> None:
    profile_id, check, least, recommended = case
    for limit, below, at in ((least, FAILS, LEAST), (recommended, LEAST, BEST)):
        if limit is not None:
            edge = -(-limit * GIB * 92 // 100)
            assert verdict(profile_id, check, **sized(check, edge - 1)) is below
            assert verdict(profile_id, check, **sized(check, edge)) is (BEST if recommended is None else at)


def sized(check: str, size: int) -> dict[str, Any]:
    if check == "memory.size":
        return {"memory": dataclasses.replace(MEMORY, total_bytes=size)}
    return {"gpu": dataclasses.replace(GPUS, gpus=(dataclasses.replace(GPU, memory_bytes=size),))}


def test_a_limit_on_this_program_counts_and_is_shown() -> None:
    limited = dataclasses.replace(MEMORY, limit_bytes=16 * GIB)
    line = lines("d6.1", dataclasses.replace(GOOD, memory=limited))["memory.size"]
    assert line.verdict is FAILS
    assert "16.0 GiB (cgroup limit)" in line.measured


@pytest.mark.parametrize(
    ("profile_id", "cores", "threads", "ghz", "expected"),
    [
        ("tier2", 4, 8, None, BEST),
        ("tier2", 3, 8, None, FAILS),
        ("tier2", 4, 7, None, FAILS),
        ("tier2", None, 8, None, UNTOLD),
        ("tier2", None, 7, None, FAILS),
        ("tier3", 16, 16, 1.8, LEAST),
        ("tier3", 15, 30, 1.8, FAILS),
        ("tier3", 16, 16, 1.79, FAILS),
        ("tier3", 12, 12, 3.0, LEAST),
        ("tier3", 11, 22, 3.0, FAILS),
        ("tier3", 12, 24, 2.9, FAILS),
        ("tier3", 16, 32, None, UNTOLD),
        ("tier3", 11, 22, None, FAILS),
        ("tier3", 32, 64, 3.0, BEST),
        ("tier3", 32, 63, 3.0, LEAST),
        ("tier3", 32, 64, 2.9, LEAST),
    ],
)
def test_processors(profile_id: str, cores: int | None, threads: int, ghz: float | None, expected: Verdict) -> None:
    cpu = dataclasses.replace(CPU, cores=cores, threads=threads, usable_threads=threads, clock_ghz=ghz)
    assert verdict(profile_id, "cpu.cores", cpu=cpu) is expected


@pytest.mark.parametrize(
    ("check", "name", "value", "expected"),
    [
        ("memory.slots", "slots", 4, BEST),
        ("memory.slots", "slots", 3, FAILS),
        ("memory.slots", "slots", None, UNTOLD),
        ("memory.ecc", "ecc", True, BEST),
        ("memory.ecc", "ecc", False, LEAST),
        ("memory.ecc", "ecc", None, UNTOLD),
    ],
)
def test_the_memory_board(check: str, name: str, value: Any, expected: Verdict) -> None:
    memory = dataclasses.replace(MEMORY, **{name: value, "board_reason": "the firmware does not say"})
    assert verdict("tier3", check, memory=memory) is expected


def test_a_recommendation_that_is_missed_or_not_told_is_exit_code_1() -> None:
    for ecc in (False, None):
        memory = dataclasses.replace(MEMORY, ecc=ecc, board_reason="?")
        assert code("tier3", dataclasses.replace(GOOD, memory=memory)) == 1


@pytest.mark.parametrize(
    ("free", "expected"),
    [(20 * GB - 1, FAILS), (20 * GB, LEAST), (100 * GB - 1, LEAST), (100 * GB, BEST)],
)
def test_space_for_jobs(free: int, expected: Verdict) -> None:
    work = dataclasses.replace(DISK, free_bytes=free)
    assert verdict("fedproc", "disk.work", disk=dataclasses.replace(DISKS, work=work)) is expected


def test_a_filesystem_that_is_read_only_has_no_space_and_says_so() -> None:
    disk = dataclasses.replace(DISKS, work=dataclasses.replace(DISK, read_only=True))
    line = lines("fedproc", dataclasses.replace(GOOD, disk=disk))["disk.work"]
    assert (line.verdict, "read-only" in line.measured, "read-only" in line.cure) == (FAILS, True, True)


@pytest.mark.parametrize(
    ("check", "change", "expected"),
    [
        ("disk.system", {"drive_bytes": 147_200_000_000}, BEST),
        ("disk.system", {"drive_bytes": 147_199_999_999}, FAILS),
        ("disk.system", {"drive_bytes": None, "total_bytes": 147_200_000_000}, BEST),
        ("disk.ssd", {"ssd": False}, FAILS),
        ("disk.ssd", {"ssd": None, "drive_reason": "vda is a virtual drive"}, UNTOLD),
    ],
)
def test_the_systems_drive(check: str, change: dict[str, Any], expected: Verdict) -> None:
    disk = dataclasses.replace(DISKS, system=dataclasses.replace(DISK, **change))
    assert verdict("tier2", check, disk=disk) is expected


@pytest.mark.parametrize(
    ("free", "used", "counted", "expected"),
    [
        (199 * GB, 1 * GB, True, BEST),
        (199 * GB, 1 * GB - 1, True, LEAST),
        (60 * GB, 40 * GB, True, LEAST),
        (60 * GB, 40 * GB - 1, True, FAILS),
        (60 * GB, 39 * GB, False, UNTOLD),
        (100 * GB, 0, False, LEAST),
    ],
)
def test_room_for_the_datasets(free: int, used: int, counted: bool, expected: Verdict) -> None:
    """What could not all be counted is a lower bound: it can meet, never fail."""
    data = DataFacts(dataclasses.replace(DISK, free_bytes=free), used, counted)
    assert verdict("tier3", "disk.data", disk=dataclasses.replace(DISKS, data=data)) is expected


@pytest.mark.parametrize(
    ("name", "version", "expected"),
    [
        ("debian", "12", BEST),
        ("debian", "13", BEST),
        ("debian", "11", FAILS),
        ("debian", "", UNTOLD),
        ("ubuntu", "22.04", LEAST),
        ("ubuntu", "20.04", FAILS),
        ("ubuntu", "24.10", LEAST),
        ("rocky", "9.4", LEAST),
        ("rhel", "8.10", FAILS),
        ("arch", "", FAILS),
    ],
)
def test_operating_systems(name: str, version: str, expected: Verdict) -> None:
    system = dataclasses.replace(SYSTEM, id=name, version=version)
    assert verdict("fedproc", "os.supported", os=system) is expected


def test_system_that_the_roles_do_not_know_is_told_what_that_means() -> None:
    system = dataclasses.replace(SYSTEM, id="rocky", version="9.4")
    line = lines("fedproc", dataclasses.replace(GOOD, os=system))["os.supported"]
    assert "recommended: debian 12 or newer" in line.requirement
    assert line.cure.startswith("use debian 12, on which the federation's roles install everything; on this system")


def test_each_missing_control_group_is_named() -> None:
    system = dataclasses.replace(SYSTEM, cgroup_controllers=("cpu", "pids"))
    line = lines("fedproc", dataclasses.replace(GOOD, os=system))["os.cgroups"]
    assert line.verdict is FAILS
    assert "missing: memory" in line.measured


@pytest.mark.parametrize(
    ("profile_id", "engines", "expected"),
    [
        ("d6.1", {"podman": "usable"}, BEST),
        ("d6.1", {"apptainer": "usable"}, BEST),
        ("d6.1", {"singularity": "usable"}, BEST),
        ("d6.1", {"docker": "broken", "apptainer": "usable"}, BEST),
        ("d6.1", {"bubblewrap": "usable"}, FAILS),
        ("fedproc", {"bubblewrap": "usable"}, BEST),
        ("tier3", {"apptainer": "usable"}, FAILS),
        ("d6.1", {"docker": "broken"}, FAILS),
        ("d6.1", {"docker": "denied"}, UNTOLD),
        ("d6.1", {}, FAILS),
    ],
)
def test_container_engines(profile_id: str, engines: dict[str, str], expected: Verdict) -> None:
    found = EngineFacts(tuple(Engine(name, "1.0", state, "detail") for name, state in engines.items()))
    line = lines(profile_id, dataclasses.replace(GOOD, container=found))["container.engine"]
    assert line.verdict is expected
    assert bool(line.cure) is (expected is not BEST)


@pytest.mark.slow
@given(skew=st.floats(-200, 200))
def test_the_clock_warns_from_30_and_fails_from_60_seconds(skew: float) -> None:
    service = dataclasses.replace(API, skew_seconds=skew)
    line = lines("d6.1", dataclasses.replace(GOOD, services=(service,)))["network.clock"]
    assert line.verdict is (BEST if abs(skew) < 30 else LEAST if abs(skew) < 60 else FAILS)
    assert line.fault == (None if abs(skew) < 30 else "clock")


@pytest.mark.parametrize(
    ("days", "begun", "expected"),
    [
        (-0.01, True, FAILS),
        (0.0, True, FAILS),
        (0.01, True, LEAST),
        (30.0, True, LEAST),
        (30.01, True, BEST),
        (90.0, False, FAILS),
    ],
)
def test_the_hosts_certificate(days: float, begun: bool, expected: Verdict) -> None:
    certificate = dataclasses.replace(CERTIFICATE, days_left=days, begun=begun)
    found = dataclasses.replace(CREDENTIALS, certificate=certificate)
    assert verdict("d6.1", "credentials.expiry", credentials=found) is expected


def test_d61_says_what_the_deliverable_says() -> None:
    """Each of its four non functional requirements has its lines, by number and as it says."""
    sources: dict[str, set[str]] = {}
    for requirement in profile.load("d6.1").requirements:
        if requirement.source.startswith("D6.1, Requirements, Non functional "):
            sources.setdefault(requirement.source[35:36], set()).add(requirement.check)
    assert sources == {
        "1": {"gpu.cuda", "gpu.vram", "gpu.compute", "gpu.driver", "memory.size"},
        "2": {"network.services"},
        "3": {"container.engine"},
        "4": {"data-api.access"},
    }
    text = lines("d6.1", GOOD)["gpu.vram"].requirement
    assert text == "VRAM of one GPU: at least 12 GB; recommended: at least 24 GB (nominal: up to 8% less is accepted)"


def test_a_host_without_a_gpu_joins_by_a_profile_that_allows_it() -> None:
    without = dataclasses.replace(GOOD, gpu=GpuFacts("none", "no NVML (libnvidia-ml.so.1) here"))
    assert code("d6.1", without) == 2
    assert code("d6.1-cpu", without) == 0


def test_every_check_is_asked_for_by_some_profile() -> None:
    asked = {requirement.check for name in profile.built_in() for requirement in profile.load(name).requirements}
    assert asked == set(CHECKS)

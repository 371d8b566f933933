"""What is measured of this machine, against what its own tools say; disks and engines made for the test."""

from __future__ import annotations

import http.server
import json
import os
import shutil
import socket
import socketserver
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
from tests.support.needs import needs

from fedproc.onboarding import build_zipapp
from fedproc.onboarding.probes import cgroup, cpu, disk, dmi, engine, gpu, system

GB = 10**9


def output(*command: str) -> str:
    if shutil.which(command[0]) is None:
        pytest.skip(f"'{command[0]}' is not installed")
    done = subprocess.run(
        command, env={**os.environ, "LC_ALL": "C"}, capture_output=True, text=True, check=True, timeout=90
    )
    return done.stdout


def test_processors_are_those_of_lscpu(check: Any) -> None:
    fields = {row["field"].rstrip(":"): row["data"] for row in json.loads(output("lscpu", "--json"))["lscpu"]}
    found = check("--only", "cpu").report["facts"]["cpu"]
    assert found["threads"] == cpu.ranges(fields["On-line CPU(s) list"])
    assert found["model"] == fields["Model name"]
    if fields.get("Socket(s)", "").isdigit():
        assert found["sockets"] == int(fields["Socket(s)"])
        assert found["cores"] == int(fields["Socket(s)"]) * int(fields["Core(s) per socket"])


def test_memory_is_that_of_free(check: Any) -> None:
    total = int(output("free", "--bytes").splitlines()[1].split()[1])
    assert check("--only", "memory").report["facts"]["memory"]["total_bytes"] == total


def test_filesystems_are_those_of_df(check: Any, tmp_path: Path) -> None:
    command = ("df", "--block-size=1", "--output=target,size", str(tmp_path))
    target, size = output(*command).splitlines()[1].split()
    found = check("--only", "disk", "--work", str(tmp_path)).report["facts"]["disk"]["work"]
    assert (Path(found["mount"]).stat().st_dev, found["total_bytes"]) == (Path(target).stat().st_dev, int(size))
    assert tmp_path.is_relative_to(found["mount"])  # it may be mounted elsewhere, too


@pytest.fixture
@needs("needs_root")
def small_disk(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("not root: a filesystem cannot be mounted here")
    folder = tmp_path / "small disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "none", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_is_measured_where_the_folder_will_be(check: Any, small_disk: Path) -> None:
    (small_disk / "file").write_bytes(bytes(32 << 20))
    found = check("--only", "disk", "--work", str(small_disk / "not" / "there" / "yet")).report["facts"]["disk"]["work"]
    assert (found["mount"], found["total_bytes"], found["free_bytes"]) == (str(small_disk), 64 << 20, 32 << 20)


def test_what_datasets_take_is_counted_with_holes_and_links_as_the_filesystem_does(small_disk: Path) -> None:
    (small_disk / "sub").mkdir()
    (small_disk / "sub" / "scan").write_bytes(bytes(1 << 20))
    with (small_disk / "sparse").open("wb") as sparse:
        sparse.truncate(1 << 30)
    (small_disk / "link").symlink_to("/")
    assert disk.count(small_disk, float("inf")) == (1 << 20, True)
    assert disk.count(small_disk, 0.0) == (0, False)


def test_what_may_not_be_read_makes_the_count_a_lower_bound(check: Any, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("not root: the check cannot be run as another user")
    data = tmp_path / "data"
    (data / "closed").mkdir(parents=True)
    (data / "closed").chmod(0)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.geteuid() and folder != Path("/tmp") and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | stat.S_IXOTH | stat.S_IROTH)
    zipapp = tmp_path / "check.pyz"  # another user may not reach the checkout and its interpreter
    build_zipapp.build(zipapp)
    prefix = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--")
    as_nobody = type(check)(prefix, program=("/usr/bin/python3", str(zipapp)))
    found = as_nobody("--only", "disk", "--data", str(data), "--dataset-gb", "1").report["facts"]["disk"]["data"]
    assert found["counted_all"] is False


def test_the_kernels_lists_of_processors() -> None:
    assert [cpu.ranges(text) for text in ("0", "0-3", "0-3,8,10-11", "")] == [1, 4, 7, 0]


def test_the_nominal_clock_comes_from_where_it_is_stated(tmp_path: Path) -> None:
    (tmp_path / "online").write_text("0-1\n")
    info = tmp_path / "cpuinfo"
    info.write_text("processor\t: 0\nmodel name\t: Intel(R) Xeon(R) Gold 6230 CPU @ 2.10GHz\ncpu MHz\t\t: 3799.999\n")
    assert cpu.probe(tmp_path, info).clock_ghz == 2.1
    (tmp_path / "cpu0/cpufreq").mkdir(parents=True)
    (tmp_path / "cpu0/cpufreq/base_frequency").write_text("2300000\n")
    assert cpu.probe(tmp_path, info).clock_ghz == 2.3
    info.write_text("processor\t: 0\nmodel name\t: AMD EPYC\n")
    (tmp_path / "cpu0/cpufreq/base_frequency").unlink()
    (tmp_path / "cpu0/cpufreq/cpuinfo_max_freq").write_text("3700000\n")
    found = cpu.probe(tmp_path, info)
    assert found.clock_ghz is None
    assert "highest: 3.7 GHz" in found.clock_source


def test_limits_of_control_groups_of_both_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    member = tmp_path / "membership"
    monkeypatch.setattr(cgroup, "MEMBERSHIP", member)
    monkeypatch.setattr(cgroup, "ROOT", tmp_path)
    for path, text in {
        "a/cpu.max": "150000 100000",
        "a/b/cpu.max": "max 100000",
        "a/memory.max": "1073741824",
        "a/b/memory.max": "max",
        "cpu,cpuacct/j/cpu.cfs_quota_us": "-1",
        "cpu,cpuacct/cpu.cfs_quota_us": "50000",
        "cpu,cpuacct/cpu.cfs_period_us": "100000",
        "memory/j/memory.limit_in_bytes": "4096",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text + "\n")
    member.write_text("0::/a/b\n")
    assert (cgroup.cpu_quota(), cgroup.memory_limit()) == (1.5, 1 << 30)
    member.write_text("4:cpu,cpuacct:/j\n3:memory:/j\n")
    assert (cgroup.cpu_quota(), cgroup.memory_limit()) == (0.5, 4096)


def test_the_memory_board_from_the_firmwares_table(tmp_path: Path) -> None:
    def array(correction: int, slots: int) -> bytes:
        body = bytes([16, 23]) + b"\0\1" + bytes([3, 3, correction]) + bytes(6) + slots.to_bytes(2, "little") + bytes(8)
        return body + b"\0\0"

    table = tmp_path / "DMI"
    table.write_bytes(bytes([0, 4, 0, 0]) + b"BIOS\0\0" + array(6, 8) + array(6, 8) + bytes([127, 4, 0, 0, 0, 0]))
    assert (dmi.board(table).slots, dmi.board(table).ecc) == (16, True)
    table.write_bytes(array(3, 4))
    assert (dmi.board(table).slots, dmi.board(table).ecc) == (4, False)
    table.write_bytes(array(2, 4))
    assert dmi.board(table).ecc is None
    table.write_bytes(array(6, 8)[:10])
    assert dmi.board(table).slots is None
    assert "SMBIOS" in dmi.board(tmp_path / "none").reason


def test_display_cards_are_named_by_vendor(tmp_path: Path) -> None:
    for address, kind, vendor in (("0000:01:00.0", "0x030200", "0x10de"), ("0000:02:00.0", "0x020000", "0x8086")):
        (tmp_path / address).mkdir()
        for name, text in (("class", kind), ("vendor", vendor), ("device", "0x2236")):
            (tmp_path / address / name).write_text(text + "\n")
    assert gpu.display_cards(tmp_path) == ("NVIDIA (10de:2236 at 0000:01:00.0)",)


def test_a_real_gpu_is_what_nvidia_smi_says(check: Any) -> None:
    if shutil.which("nvidia-smi") is None:
        pytest.skip("no NVIDIA GPU on this machine ('nvidia-smi' is not installed)")
    rows = output(
        "nvidia-smi", "--query-gpu=uuid,name,memory.total,driver_version,compute_cap", "--format=csv,noheader,nounits"
    )
    stated = [tuple(map(str.strip, row.split(","))) for row in rows.strip().splitlines()]
    found = check("--only", "gpu").report["facts"]["gpu"]
    mine = [
        (g["uuid"], g["name"], str(g["memory_bytes"] >> 20), found["driver"], g["compute_capability"])
        for g in found["gpus"]
    ]
    assert mine == stated


def test_os_release_is_read_as_a_shell_would(tmp_path: Path) -> None:
    (tmp_path / "os-release").write_text("# comment\nID=rocky\nVERSION_ID=\"9.4\"\nPRETTY_NAME='Rocky Linux'\nBROKEN\n")
    found = system.os_release((tmp_path / "none", tmp_path / "os-release"))
    assert found == {"ID": "rocky", "VERSION_ID": "9.4", "PRETTY_NAME": "Rocky Linux"}


class EngineApi:
    """Something that answers on a unix socket as a container engine would."""

    def __init__(self, path: Path, answers: dict[str, tuple[int, bytes]]) -> None:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, body = answers.get(self.path, (404, b"{}"))
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def address_string(self) -> str:
                return "unix"

            def log_message(self, *_: object) -> None:
                """Tests read their own output."""

        self.server = socketserver.ThreadingUnixStreamServer(str(path), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


VERSION = json.dumps({"Version": "26.1.5", "Components": [{"Name": "Engine"}]}).encode()
INFO = json.dumps(
    {"CgroupVersion": "2", "Runtimes": {"runc": {}, "nvidia": {}}, "SecurityOptions": ["name=rootless"]}
).encode()


@pytest.mark.process
@pytest.mark.parametrize(
    ("version", "info", "name", "state", "says"),
    [
        ((200, VERSION), (200, INFO), "docker", "usable", "cgroup v2, runtimes: nvidia, runc"),
        ((200, VERSION.replace(b"Engine", b"Podman Engine")), (200, INFO), "podman", "usable", "cgroup v2"),
        ((500, b"{}"), (200, INFO), "docker", "broken", "answers 500"),
        ((200, VERSION), (200, b"not json"), "docker", "broken", "sock: "),
        ((200, b"[]"), (200, INFO), "docker", "broken", "not as a container engine"),
    ],
)
def test_an_engine_is_asked_by_its_own_api(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: Any, info: Any, name: str, state: str, says: str
) -> None:
    path = tmp_path / "engine.sock"
    monkeypatch.setattr(engine, "sockets", lambda of: [engine.Socket(of, path)] if of == "docker" else [])
    api = EngineApi(path, {"/version": version, "/info": info})
    try:
        found = next(e for e in engine.probe().engines if e.name == name)
    finally:
        api.close()
    assert (found.state, says in found.detail) == (state, True), found.detail


@pytest.mark.process
def test_an_engine_that_this_user_may_not_ask_could_not_be_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(*_: object) -> NoReturn:
        raise PermissionError(13, "Permission denied")

    path = tmp_path / "engine.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        monkeypatch.setattr(engine, "sockets", lambda of: [engine.Socket(of, path)] if of == "docker" else [])
        monkeypatch.setattr(engine, "_get", denied)
        found = next(e for e in engine.probe().engines if e.name == "docker")
    assert (found.state, "may not open it" in found.detail) == ("denied", True)


@pytest.mark.process
def test_programs_are_tried_and_not_only_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def program(name: str, text: str) -> None:
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)

    program("apptainer", "echo apptainer version 1.4.1")
    program("singularity", "echo broken >&2; exit 1")
    program(
        "bwrap",
        'case $1 in --version) echo bubblewrap 0.8.0;; *) echo "No permissions" >&2; exit 1;; esac',
    )
    monkeypatch.setenv("PATH", f"{tmp_path}:{Path(sys.executable).parent}:/usr/bin:/bin")
    monkeypatch.setattr(engine, "sockets", lambda of: [])
    found = {e.name: e for e in engine.probe().engines}
    assert (found["apptainer"].state, found["apptainer"].version) == ("usable", "1.4.1")
    assert (found["singularity"].state, "broken" in found["singularity"].detail) == ("broken", True)
    assert (found["bubblewrap"].state, found["bubblewrap"].version) == ("broken", "0.8.0")
    assert "No permissions" in found["bubblewrap"].detail

"""What a job cannot reach, see or become, looked at from inside it."""

from __future__ import annotations

import json
import os
import re
import secrets
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from tests.support.executors import INSIDE, PYTHON, Harness, job_id

from fedproc.site.executors.base import INPUT, SOURCE, Forward, Mount, Port

pytestmark = pytest.mark.needs_root

TOOL = Path(__file__).parents[3] / "tool_catalog" / "host_acceptance"
NOWHERE = ("192.0.2.1", "2001:db8::1", "8.8.8.8")
REFUSED = {
    "EPERM", "EACCES", "ENOENT", "ENOTDIR", "ENETUNREACH", "EHOSTUNREACH", "ECONNREFUSED", "EADDRNOTAVAIL", "ESRCH",
    "EROFS", "EAFNOSUPPORT", "ENOSYS", "ESOCKTNOSUPPORT", "EPROTONOSUPPORT", "ENOSPC",
    "unresolved",
}  # fmt: skip
"""``ENOSPC`` is what the kernel says where no more user namespaces may be made."""


def _own_addresses() -> list[str]:
    """The addresses of this machine, by the routing table; nothing is sent."""
    found = ["127.0.0.1", "::1"]
    for family, far in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect((far, 9))
            except OSError:
                continue
            found.append(probe.getsockname()[0])
    return found


@dataclass
class Surroundings:
    """What is there to be reached on this host, were a job not kept from it."""

    addresses: list[tuple[str, int]]
    abstract: list[str]
    sockets: list[str]
    files: list[str]
    folders: list[str]
    processes: list[int]


@asynccontextmanager
async def _surroundings(harness: Harness) -> AsyncIterator[Surroundings]:
    """Listeners as the centre and this host have them, and a neighbour with connections and files of its own."""
    listeners = [socket.create_server(("0.0.0.0", 0)), socket.create_server(("::", 0), family=socket.AF_INET6)]
    ports = [listener.getsockname()[1] for listener in listeners]
    name = f"fedproc-{secrets.token_hex(8)}"
    abstract = socket.socket(socket.AF_UNIX)
    abstract.bind("\0" + name)
    abstract.listen()
    connections = harness.folder / "neighbour" / "connections"
    for folder in ("in", "out"):
        (connections / folder).mkdir(parents=True)
    outgoing = socket.socket(socket.AF_UNIX)
    outgoing.bind(str(connections / "out" / "peer"))
    outgoing.listen()
    key = harness.folder / "host.key"
    key.write_text("the host's key")
    ways: dict[str, Any] = {
        "forwards": (Forward("server.fedproc.internal", 9092, connections / "out" / "peer"),),
        "ports": (Port("tcp", 4711, connections / "in" / "tcp"),),
    }
    try:
        async with harness.neighbour(**ways):
            addresses = [(host, ports[":" in host]) for host in _own_addresses()]
            yield Surroundings(
                addresses=[*addresses, *((host, 443) for host in NOWHERE), ("127.0.0.1", 4711), ("127.0.0.1", 9092)],
                abstract=[name, "neighbour"],
                sockets=[
                    str(connections / "out" / "peer"), str(connections / "in" / "tcp"), "/fedproc/connections/out/peer",
                    "/fedproc/connections/in/tcp", "/var/run/docker.sock", "/run/docker.sock",
                ],
                files=[
                    str(key), str(harness.folder / "neighbour" / "work" / "secret.txt"), "/tmp/neighbour",
                    "/etc/shadow", "/root/.bashrc", "/proc/kcore", "/dev/mem",
                ],
                folders=[str(harness.folder), str(harness.folder / "neighbour"), "/root"],
                processes=[os.getpid(), os.getppid()],
            )  # fmt: skip
    finally:
        for each in (*listeners, abstract, outgoing):
            each.close()


async def test_attacks_from_inside_are_refused(harness: Harness) -> None:
    data = harness.folder / "data"
    data.mkdir(mode=0o777)
    async with _surroundings(harness) as around:
        told = json.dumps({**vars(around), "readonly": ["/", "/usr", "/etc", str(SOURCE), "/fedproc", "/data", "/dev"]})
        attacks = harness.program(
            "attacker", (INSIDE / "attacks.py").read_text(), told, mounts=(Mount(data, PurePosixPath("/data")),)
        )
        ended = await harness.run(attacks)
        found: dict[str, str] = ended.json()
    assert list(data.iterdir()) == []
    wrong = {name: came for name, came in found.items() if not _is_refusal(name, came)}
    assert wrong == {}
    assert len(found) > 60


def _is_refusal(name: str, came: str) -> bool:
    """Beside errors of the kernel: who has no number here cannot be become."""
    return came in REFUSED or (name.startswith("become ") and came == "EINVAL")


async def test_the_acceptance_tool_finds_nothing(harness: Harness) -> None:
    """The catalogue's own look from inside, with a dataset and a neighbour."""
    work = harness.folder / "looking" / "work"
    (work / "output").mkdir(parents=True)
    data = harness.folder / "dataset"
    data.mkdir()
    (data / "images.csv").write_text("id\n1\n")
    async with _surroundings(harness) as around:
        (harness.folder / "parameters.json").write_text(
            json.dumps({"probe_addresses": [f"[{h}]:{p}" if ":" in h else f"{h}:{p}" for h, p in around.addresses]})
        )
        spec = harness.spec(
            "looking", PYTHON, f"{SOURCE}/source/main.py", "--host", "UB", "--job", job_id("looking"),
            "--parameters", "/fedproc/spec/parameters.json", "--input", str(INPUT),
            "--output", "/fedproc/work/output", "--metrics", "/fedproc/work/metrics.jsonl",
            environment={"PYTHONDONTWRITEBYTECODE": "1"},
            mounts=(
                Mount(TOOL, SOURCE),
                Mount(harness.folder / "parameters.json", PurePosixPath("/fedproc/spec/parameters.json")),
                Mount(data, INPUT / "dataset" / "cohort"),
            ),
        )  # fmt: skip
        ended = await harness.run(spec)
    assert ended.seen.exit_code == 0, ended
    report = json.loads((work / "output" / "report.json").read_text())
    assert [finding for finding in report["findings"] if not finding["ok"]] == []
    assert report["status"] == "ok"


async def test_nothing_of_this_programs_environment_is_seen(harness: Harness, monkeypatch: Any) -> None:
    monkeypatch.setenv("FEDPROC_SECRET", "s3cret")
    program = """
import contextlib, json, os, pathlib
found = []
for each in pathlib.Path("/proc").glob("[0-9]*/environ"):
    with contextlib.suppress(PermissionError):
        found.append(each.read_bytes().decode(errors="replace"))
print(json.dumps([dict(os.environ), found]))
"""
    seen, of_processes = (await harness.run(harness.program("curious", program, environment={"MINE": "yes"}))).json()
    assert seen["MINE"] == "yes"
    others = {name for name in seen if not re.fullmatch(harness.backend.variables, name)}
    assert others <= {
        "MINE",
        "PATH",
        "HOME",
        "USER",
        "LOGNAME",
        "TMPDIR",
        "PWD",
        "LC_CTYPE",
        "HOSTNAME",
        "LANG",
        "TERM",
        "container",
    }
    assert "MINE=yes" in str(of_processes)
    assert not re.search("s3cret|FEDPROC_KEY", str(of_processes))


async def test_inputs_can_be_read_and_nothing_else_of_their_folder(harness: Harness) -> None:
    (harness.folder / "a").mkdir()
    (harness.folder / "a" / "file").write_text("to be read")
    (harness.folder / "b").write_text("not to be read")
    (harness.folder / "a" / "link").symlink_to("../b")
    program = """
import json, os, pathlib
tried = {}
for path in ("/data/file", "/data/link", "/data/../b"):
    try:
        tried[path] = pathlib.Path(path).read_text()
    except OSError as fault:
        tried[path] = None
print(json.dumps([tried, os.access("/data/file", os.W_OK), os.access("/data", os.W_OK)]))
"""
    spec = harness.program("reader", program, mounts=(Mount(harness.folder / "a", PurePosixPath("/data")),))
    tried, *writable = (await harness.run(spec)).json()
    assert tried == {"/data/file": "to be read", "/data/link": None, "/data/../b": None}
    assert writable == [False, False]


async def test_what_one_job_leaves_in_scratch_is_not_there_for_the_next(harness: Harness) -> None:
    leave = "for place in ('/tmp', '/dev/shm'):\n    open(place + '/left', 'w').write('x')"
    look = "import os\nprint(os.listdir('/tmp') + os.listdir('/dev/shm'))"
    assert (await harness.run(harness.program("leaves", leave))).seen.exit_code == 0
    assert (await harness.run(harness.program("looks", look))).out == b"[]\n"

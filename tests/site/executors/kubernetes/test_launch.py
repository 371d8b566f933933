"""The first program of a job's container, as the first process of namespaces that bubblewrap makes here."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fedproc.site.executors.base import Limits, Spec, Stop
from fedproc.site.executors.confinement.seccomp import make_filter
from fedproc.site.executors.kubernetes import measures, pod
from fedproc.site.executors.kubernetes.pod import order_of

pytestmark = [pytest.mark.process, pytest.mark.slow]

PROGRAMS = Path(pod.__file__).parent
LIMITS = Limits(cpus=1, memory=96_000_000, disk=2_000_000, pids=12, log=1000)
needs_bubblewrap = pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")


@dataclass
class Ended:
    code: int
    out: bytes
    errors: bytes
    told: dict[str, Any]


class Container:
    """What a pod gives the program, laid out in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("control", "output", "work"):
            (folder / name).mkdir()
        for name in ("launch.py", "measures.py"):
            shutil.copyfile(PROGRAMS / name, folder / "control" / name)
        for name in ("output/stdout", "output/stderr", "message"):
            (folder / name).touch()
        self.gate: list[list[Any]] = []
        self.network: list[str] = []
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, source: str, **more: Any) -> None:
        (self.folder / "work" / "program.py").write_text(source)
        command = more.pop("command", (sys.executable, "-I", "/fedproc/work/program.py"))
        spec = Spec("j-1", command, {"MINE": "yes"}, "", self.folder, LIMITS, **more)
        order = order_of(spec, spec.command, make_filter(namespaces=False)) | {"gate": self.gate}
        (self.folder / "control" / "order.json").write_text(json.dumps(order))
        at = self.folder
        places = {"control": "/fedproc/control", "output": "/fedproc/output", "work": "/fedproc/work"}
        binds = [part for name, place in places.items() for part in ("--bind", str(at / name), place)]
        binds += ["--bind", str(at / "message"), "/dev/termination-log"]
        roots = [str(path) for path in Path("/").iterdir() if path.name not in ("proc", "sys", "dev", "tmp", "fedproc")]
        shown = [part for path in roots for part in ("--ro-bind", path, path)]
        confined = ["bwrap", "--unshare-user", "--unshare-pid", *self.network, "--as-pid-1", "--uid", "10001"]
        confined += ["--gid", "10001", "--die-with-parent", *shown, "--proc", "/proc", "--dev", "/dev"]
        confined += ["--tmpfs", "/fedproc", "--tmpfs", "/tmp", *binds]
        environment = {"PATH": os.environ["PATH"], "FEDPROC_KEY": "k1", "KUBERNETES_PORT": "x", "OF_IMAGE": "there"}
        self._process = subprocess.Popen(
            [*confined, sys.executable, "-I", "/fedproc/control/launch.py"], env=environment, stderr=subprocess.PIPE
        )

    def said(self, text: bytes) -> None:
        until = time.monotonic() + 60
        while text not in (self.folder / "output" / "stdout").read_bytes():
            assert time.monotonic() < until
            assert self._process is not None
            assert self._process.poll() is None, self._process.communicate()
            time.sleep(0.02)

    def stop(self, text: str = "") -> None:
        (self.folder / "control" / "stop").write_text(text)

    def end(self) -> Ended:
        assert self._process is not None
        _, errors = self._process.communicate(timeout=60)
        assert errors == b""
        out, err = [(self.folder / "output" / name).read_bytes() for name in ("stdout", "stderr")]
        return Ended(self._process.returncode, out, err, json.loads((self.folder / "message").read_text()))

    def run(self, source: str, **more: Any) -> Ended:
        self.start(source, **more)
        return self.end()

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()


@pytest.fixture
def container(tmp_path: Path) -> Iterator[Container]:
    made = Container(tmp_path)
    yield made
    made.close()


@needs_bubblewrap
def test_command_has_its_streams_variables_and_an_empty_network_of_its_own(container: Container) -> None:
    ended = container.run(
        "import os, socket, sys\n"
        "print(os.getcwd(), os.environ['MINE'], os.environ['OF_IMAGE'], [n for n in os.environ if 'KUBE' in n])\n"
        "print([name for _, name in socket.if_nameindex()], os.environ.get('FEDPROC_KEY'), file=sys.stderr)\n"
        "listener = socket.create_server(('127.0.0.1', 0))\n"
        "socket.create_connection(listener.getsockname())\n"
        "sys.exit(3)\n"
    )
    assert (ended.code, ended.out) == (3, b"/fedproc/work yes there []\n")
    assert ended.errors == b"['lo'] None\n"
    assert (ended.told["key"], ended.told["network"], ended.told["limit"]) == ("k1", "own", None)
    assert ended.told["kept"] == {"stdout": len(ended.out), "stderr": len(ended.errors)}
    assert ended.told["seconds"] > 0


@needs_bubblewrap
def test_job_has_no_capability_and_can_make_no_namespace_nor_reach_the_first_process(container: Container) -> None:
    ended = container.run(
        "import ctypes, os, pathlib\n"
        "status = dict(line.split(':\\t') for line in pathlib.Path('/proc/self/status').read_text().splitlines())\n"
        "print([int(status[name], 16) for name in ('CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb')])\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "print(status['NoNewPrivs'], status['Seccomp'], [libc.unshare(flag) for flag in (0x10000000, 0x40000000)])\n"
        "for name in ('environ', 'mem', 'root/etc/hostname'):\n"
        "    try:\n"
        "        open(f'/proc/1/{name}', 'rb').read(1)\n"
        "        print(name, 'read')\n"
        "    except OSError:\n"
        "        print('refused')\n"
        "os.kill(1, 9)\n"
        "print('there')\n"
    )
    assert ended.out.decode().splitlines() == ["[0, 0, 0, 0, 0]", "1 2 [-1, -1]", *["refused"] * 3, "there"], ended
    assert ended.code == 0


@needs_bubblewrap
def test_odd_and_long_name_of_a_command_leaves_room_for_how_it_ended(container: Container) -> None:
    ended = container.run("", command=("\N{PILE OF POO}" * 60 + "é" * 900,))
    assert ended.code in (126, 127)
    assert "\N{PILE OF POO}" in ended.told["detail"]
    assert (container.folder / "message").stat().st_size < 4096, "a node cuts what is longer"


@needs_bubblewrap
@pytest.mark.parametrize(("how", "code"), [("sys.exit(5)", 5), ("os.kill(os.getpid(), 9)", 137), ("os.abort()", 134)])
def test_exit_codes_follow_the_shell_and_what_is_left_behind_ends(container: Container, how: str, code: int) -> None:
    left = "subprocess.Popen(['/bin/sleep', '1000'], start_new_session=True)"
    ended = container.run(f"import os, subprocess, sys\n{left}\nprint('here', flush=True)\n{how}\n")
    assert (ended.code, ended.out) == (code, b"here\n")


@needs_bubblewrap
def test_command_that_is_not_there_is_named(container: Container) -> None:
    ended = container.run("", command=("/no/such/command",))
    assert ended.code == 127
    assert "/no/such/command" in ended.told["detail"]


@needs_bubblewrap
@pytest.mark.parametrize(
    ("source", "limit", "says"),
    [
        ("import os, time\nfor _ in range(20):\n    os.fork() or time.sleep(1000)\ntime.sleep(1000)", "pids", "12"),
        (
            "import os, time\nf = open('a', 'wb')\nos.unlink('a')\nf.write(bytes(1_900_000))\nf.flush()\n"
            "g = open('b', 'wb')\nos.unlink('b')\ng.write(bytes(1_900_000))\ng.flush()\ntime.sleep(1000)",
            "disk", "2 MB",
        ),
    ],
    ids=["processes", "removed-files"],
)  # fmt: skip
def test_limit_ends_it_by_name(container: Container, source: str, limit: str, says: str) -> None:
    ended = container.run(source)
    assert (ended.code, ended.told["limit"]) == (137, limit)
    assert says in ended.told["detail"]


@needs_bubblewrap
def test_output_is_cut_and_counted(container: Container) -> None:
    ended = container.run("import os\nfor _ in range(30):\n    os.write(1, bytes(range(250)))\nos.write(2, b'e')\n")
    assert (ended.code, ended.out, ended.errors) == (0, bytes(range(250)) * 4, b"e")
    assert ended.told["dropped"] == 26 * 250


@needs_bubblewrap
def test_it_is_asked_to_end_as_it_wants_and_killed_after_its_grace(container: Container) -> None:
    source = (
        "import signal, sys, time\nsignal.signal(signal.SIGINT, lambda *_: sys.exit(7))\n"
        "print('ready', flush=True)\ntime.sleep(1000)\n"
    )
    container.start(source, stop=Stop("SIGINT", 30))
    container.said(b"ready")
    container.stop()
    ended = container.end()
    assert (ended.code, ended.told["cancelled"]) == (7, True)


@needs_bubblewrap
@pytest.mark.parametrize(("text", "grace"), [("", 0.2), ("now", 1000)])
def test_deaf_one_is_killed_after_its_grace_or_at_once(container: Container, text: str, grace: float) -> None:
    source = "import signal, time\nsignal.signal(15, signal.SIG_IGN)\nprint('ready', flush=True)\ntime.sleep(1000)\n"
    container.start(source, stop=Stop("SIGTERM", grace))
    container.said(b"ready")
    container.stop(text)
    assert container.end().code == 137


@needs_bubblewrap
def test_one_that_is_stopped_before_it_started_is_not_started(container: Container) -> None:
    container.stop()
    ended = container.run("print('here')")
    assert (ended.code, ended.out, ended.told["cancelled"]) == (143, b"", True)


@needs_bubblewrap
def test_no_job_starts_in_a_network_where_something_answers(container: Container) -> None:
    """Where its container may make no namespace: bubblewrap lets nobody make one here."""
    container.network = ["--disable-userns"]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        container.gate = [list(listener.getsockname())]
        ended = container.run("print('here')")
    assert (ended.code, ended.out) == (125, b"")
    assert "answers from inside its pod" in ended.told["fault"]


@needs_bubblewrap
def test_job_starts_in_a_network_where_nothing_answers(container: Container) -> None:
    container.network = ["--disable-userns", "--unshare-net"]
    container.gate = [["192.0.2.1", 443]]
    ended = container.run("print('here')")
    assert (ended.code, ended.out, ended.told["network"]) == (0, b"here\n", "pod's")


def test_it_ends_nothing_where_it_is_not_the_first_process(tmp_path: Path) -> None:
    program = tmp_path / "launch.py"
    shutil.copyfile(PROGRAMS / "launch.py", program)
    text = program.read_text().replace('CONTROL = "/fedproc/control"', f'CONTROL = "{PROGRAMS}"')
    program.write_text(text)
    done = subprocess.run([sys.executable, "-I", str(program)], capture_output=True, check=False)
    assert done.returncode == 125
    assert b"first program of a job's container" in done.stderr


def test_files_that_no_folder_shows_are_counted_once(tmp_path: Path) -> None:
    with (tmp_path / "a").open("wb") as file:
        file.write(bytes(100_000))
        file.flush()
        copy = os.dup(file.fileno())
        (tmp_path / "a").unlink()
        found = measures.removed_but_open([str(os.getpid()), "0"], tmp_path.stat().st_dev)
        os.close(copy)
    assert 100_000 <= found < 200_000
    assert measures.threads(str(os.getpid())) >= 1
    assert measures.threads("0") == 0

"""Podman of an ordinary user, started for a test: nothing of it is left on the machine, not even the user."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from shutil import which

import psutil
import pytest
from tests.support.processes import DYING_WITH_US

from fedproc.demo.engine import answers
from fedproc.demo.polling import wait_until

USER = 52_000 + os.getpid() % 8_000
"""another one in each run of the tests, of which several may go on at once"""
_SUBORDINATES = 700_000
_NAME = "fp-podman"
_PROGRAMS = ("podman", "newuidmap", "tini-static", "crun")
needs_podman = pytest.mark.skipif(
    not all(map(which, _PROGRAMS)),
    reason="no Podman for ordinary users: scripts/install-system-packages podman brings it",
)
_SETTINGS = """
[containers]
default_sysctls = []
default_ulimits = ["nofile=4096:4096"]
http_proxy = false
init_path = "/usr/bin/tini-static"
[engine]
service_timeout = 0
init_path = "/usr/bin/tini-static"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""
_FILES = {
    "passwd": f"{_NAME}:x:{USER}:{USER}::{{home}}:/bin/sh\n",
    "group": f"{_NAME}:x:{USER}:\n",
    "subuid": f"{_NAME}:{_SUBORDINATES}:65536\n",
    "subgid": f"{_NAME}:{_SUBORDINATES}:65536\n",
}


class RootlessPodman:
    """Its socket, and what it keeps, below ``folder``, whose parents anybody may pass.

    The user is known in a mount namespace alone, in which the engine runs.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.home, self.run = folder / "podman-home", folder / "podman-run"
        self.socket = self.run / "podman.sock"
        self._process: subprocess.Popen[bytes] | None = None
        settings = self.home / ".config" / "containers"
        for place in (self.home, self.home / ".config", settings, self.run):
            place.mkdir()
            os.chown(place, USER, USER)
        (settings / "containers.conf").write_text(_SETTINGS)
        (settings / "storage.conf").write_text('[storage]\ndriver = "overlay"\n')
        for name, line in _FILES.items():
            known = Path("/etc", name)
            text = known.read_text() if known.exists() else ""
            (folder / name).write_text(text + line.format(home=self.home))

    def start(self) -> None:
        """Start it, and return when it answers."""
        with (self._folder / "podman.log").open("ab") as log:
            command = self.command("podman", "system", "service", "--time=0", f"unix://{self.socket}")
            self._process = subprocess.Popen([*DYING_WITH_US, *command], stdout=log, stderr=log)
        wait_until(lambda: answers(self.socket), 60, "Podman does not answer")

    def command(self, *command: str) -> list[str]:
        """Runs a command as that user."""
        known = "".join(f"touch /etc/{name}; mount --bind {self._folder}/{name} /etc/{name}; " for name in _FILES)
        variables = ("PATH=/usr/sbin:/usr/bin:/sbin:/bin", f"HOME={self.home}", f"XDG_RUNTIME_DIR={self.run}")
        become = ("setpriv", "--reuid", str(USER), "--regid", str(USER), "--clear-groups", "env", "-i", *variables)
        # Without the outer shells: what is killed is the engine.
        return ["unshare", "--mount", "sh", "-ec", f'{known} cd /; exec "$@"', "sh", *become, *command]

    def lacks(self) -> frozenset[str]:
        """Limits that no kernel enforces on a container of an ordinary user: on control groups v1 nearly all."""
        return (
            frozenset() if Path("/sys/fs/cgroup/cgroup.controllers").exists() else frozenset({"cpus", "memory", "pids"})
        )

    def kill(self) -> None:
        """Kill it with all that keeps its containers, as when the machine's user is logged out; start it again."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        _kill_all(but=[["podman"]])  # which holds the user's namespace: that one is there as long as the machine is
        self.socket.unlink()
        self.start()

    def stop(self) -> None:
        """End it, and remove what it keeps."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(60)
        _kill_all()
        subprocess.run(["/bin/rm", "-rf", str(self.home), str(self.run)], check=True)
        Path(f"/dev/shm/libpod_rootless_lock_{USER}").unlink(missing_ok=True)


def _kill_all(but: Sequence[list[str]] = ()) -> None:
    """Of this user alone, whom no other run of the tests has."""
    for process in psutil.process_iter(["pid", "uids", "cmdline"]):
        if process.info["uids"] and process.info["uids"].real == USER and process.info["cmdline"] not in but:
            with suppress(psutil.NoSuchProcess):
                process.kill()
                process.wait(10)

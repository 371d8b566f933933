"""A Docker engine for the demo: the machine's own where one answers, else one of ours without a network."""

from __future__ import annotations

import contextlib
import shutil
import socket
from dataclasses import dataclass
from pathlib import Path

from fedproc.contract.errors import Unavailable
from fedproc.demo.waiting import wait_until

MACHINES_OWN = Path("/var/run/docker.sock")


def answers(at: Path) -> bool:
    """Whether something listens on this unix socket."""
    with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(OSError):
        probe.connect(str(at))
        return True
    return False


@dataclass(frozen=True)
class EnginePlan:
    """An engine that keeps its images and containers below ``folder``, and its sockets below ``run``."""

    folder: Path
    run: Path

    @property
    def socket(self) -> Path:
        return self.run / "docker.sock"

    def command(self) -> list[str]:
        """Runs it in the foreground; needs root. Raises :class:`Unavailable` if Docker is not installed."""
        program = shutil.which("dockerd", path="/usr/sbin:/usr/bin:/usr/local/bin")
        if program is None:
            raise Unavailable("Docker is not installed: run scripts/install-system-packages docker")
        own = {
            "data-root": self.folder,
            "exec-root": self.run / "engine",
            "pidfile": self.run / "dockerd.pid",
            "host": f"unix://{self.socket}",
            "bridge": "none",
            "iptables": "false",
            "ip6tables": "false",
            "log-level": "warn",
        }
        return [program, *(f"--{name}={value}" for name, value in own.items())]

    def wait(self) -> None:
        """Return when it answers. Raises :class:`Unavailable`."""
        wait_until(lambda: answers(self.socket), 60, f"the Docker engine does not answer at {self.socket}")

"""A Docker engine for the demo: the machine's own where one answers, else one of ours without a network."""

from __future__ import annotations

import contextlib
import itertools
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil

from fedproc.common.errors import UnavailableError
from fedproc.demo.polling import wait_until

MACHINES_OWN = Path("/var/run/docker.sock")
_SYSTEMD = Path("/run/systemd/system")
_GROUPS = Path("/sys/fs/cgroup")


def answers(at: Path) -> bool:
    """Whether something listens on this unix socket."""
    with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(OSError):
        probe.connect(str(at))
        return True
    return False


@dataclass(frozen=True)
class EnginePlan:
    """An engine with its sockets below ``run``, whose images are kept below ``cache`` for the next one.

    Two engines never share such a place: each takes the first ``cache-N`` that no running engine has.
    """

    cache: Path
    run: Path

    @property
    def socket(self) -> Path:
        return self.run / "docker.sock"

    @property
    def folder(self) -> Path:
        """Where its images and containers are."""
        if self._taken.is_symlink():
            return self._taken.readlink()
        places = (self.cache.with_name(f"{self.cache.name}-{number}") for number in itertools.count(1))
        return next(place for place in places if not _is_used(place)).resolve()

    @property
    def _taken(self) -> Path:
        return self.run / "engine-data"

    def command(self) -> list[str]:
        """Runs it in the foreground; needs root. Raises :class:`UnavailableError` if Docker is not installed."""
        program = shutil.which("dockerd", path="/usr/sbin:/usr/bin:/usr/local/bin")
        if program is None:
            raise UnavailableError("Docker is not installed: run scripts/install-system-packages docker")
        mount_hierarchies()
        folder = self.folder
        folder.parent.mkdir(parents=True, exist_ok=True)
        self.run.mkdir(parents=True, exist_ok=True)
        if not self._taken.is_symlink():
            self._taken.symlink_to(folder)
        own = {
            "data-root": folder,
            "exec-root": self.run / "engine",
            "pidfile": _pid_file(folder),
            "host": f"unix://{self.socket}",
            "bridge": "none",
            "iptables": "false",
            "ip6tables": "false",
            "log-level": "warn",
        }
        return [program, *(f"--{name}={value}" for name, value in own.items())]

    def wait(self) -> None:
        """Return when it answers. Raises :class:`UnavailableError`."""
        wait_until(lambda: answers(self.socket), 60, f"the Docker engine does not answer at {self.socket}")

    def clean_up(self) -> None:
        """Unmount what an engine that was killed, and not asked to end, leaves mounted here."""
        for partition in psutil.disk_partitions(all=True):
            place = Path(partition.mountpoint)
            if place == self.folder.resolve() or place.is_relative_to(self.run.resolve()):
                subprocess.run(["/bin/umount", str(place)], check=True)


def mount_hierarchies() -> None:
    """Mount every hierarchy of control groups v1 that the kernel has, where no systemd sees to them; needs root.

    An engine watches the memory of its containers only if it finds them all mounted, and a systemd that starts in a
    container makes those that are missing, for itself. Raises :class:`UnavailableError` if it may not.
    """
    if _SYSTEMD.exists() or not (_GROUPS / "memory").is_mount():
        return
    together: dict[str, list[str]] = {}
    for line in Path("/proc/cgroups").read_text().splitlines()[1:]:
        controller, hierarchy, _, enabled = line.split()
        if enabled == "1":
            together.setdefault(controller if hierarchy == "0" else hierarchy, []).append(controller)
    mounted = {
        option
        for disk in psutil.disk_partitions(all=True)
        for option in disk.opts.split(",")
        if disk.fstype == "cgroup"
    }
    missing = [",".join(controllers) for controllers in together.values() if not mounted.intersection(controllers)]
    if missing:  # the systemd of a container that was shown this folder left it read-only
        _mount("-o", "remount,rw", str(_GROUPS))
    for names in missing:
        (_GROUPS / names).mkdir(exist_ok=True)
        _mount("-t", "cgroup", "-o", names, "cgroup", str(_GROUPS / names))


def _mount(*arguments: str) -> None:
    done = subprocess.run(["/bin/mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise UnavailableError(
            f"control groups: {done.stderr.splitlines()[0]} An engine may not notice that a container lacks memory; "
            "mount them as root of the machine, or use a machine with systemd"
        )


def _pid_file(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.pid")


def _is_used(folder: Path) -> bool:
    try:
        return str(psutil.Process(int(_pid_file(folder).read_text())).name()) == "dockerd"
    except (FileNotFoundError, ValueError, psutil.NoSuchProcess):
        return False


if __name__ == "__main__":
    try:
        mount_hierarchies()
    except UnavailableError as error:
        sys.exit(error.message)

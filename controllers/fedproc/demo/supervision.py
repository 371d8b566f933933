"""The federation's processes under supervisord: what dies is started again."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from xmlrpc.client import Fault, ServerProxy

import psutil
from supervisor.xmlrpc import SupervisorTransport

from fedproc.common.errors import SystemFaultError, UnavailableError
from fedproc.demo.polling import wait_until


@dataclass(frozen=True)
class Program:
    """One supervised program; those with a lower ``order`` are started earlier and ended later."""

    name: str
    command: list[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    order: int = 100
    stop_seconds: int = 20
    later: bool = False
    """not started with the others, but by :meth:`Supervisor.start_programs`"""
    group: bool = False
    """end the whole process group with it (a program that starts others which are its own)"""


class Supervisor:
    """supervisord with its socket, its pid files ``run/NAME.pid`` and its logs ``log/NAME.log`` below ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        self._run = self._folder / "run"
        self._configuration = self._folder / "supervisord.conf"

    def write(self, programs: list[Program]) -> None:
        """Write the configuration. Names must differ."""
        for name in ("run", "log"):
            (self._folder / name).mkdir(parents=True, exist_ok=True, mode=0o700)
        head = f"""[supervisord]
logfile={self._folder}/log/supervisor.log
logfile_maxbytes=1MB
pidfile={self._run}/supervisor.pid
umask=022
[unix_http_server]
file={self._socket}
chmod=0700
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl=unix://{self._socket}
"""
        text = head + "".join(self._section(program) for program in programs)
        self._configuration.write_text(text)
        self._configuration.chmod(0o600)

    def _section(self, program: Program) -> str:
        environment = ",".join(f'{name}="{value.replace("%", "%%")}"' for name, value in program.environment.items())
        command = " ".join(_quoted(word) for word in program.command)
        pid = f"{self._run}/{program.name}.pid"
        script = f"echo $$ > {pid}.part; mv {pid}.part {pid}; exec {command}".replace("%", "%%").replace('"', '\\"')
        both = "true" if program.group else "false"
        return f"""[program:{program.name}]
command=/bin/sh -c "{script}"
directory={self._folder}
environment={environment}
priority={program.order}
autostart={"false" if program.later else "true"}
autorestart=true
startsecs=1
startretries=100
stopwaitsecs={program.stop_seconds}
stopasgroup={both}
killasgroup={both}
redirect_stderr=true
stdout_logfile={self._folder}/log/{program.name}.log
stdout_logfile_maxbytes=20MB
stdout_logfile_backups=1
"""

    @property
    def _socket(self) -> Path:
        return self._run / "supervisor.sock"

    def start(self) -> None:
        """Start supervisord and all programs; both go on when the caller ends."""
        if self.is_running():
            raise SystemFaultError(f"a federation runs in {self._folder} already: make demo-down ends it")
        command = [sys.executable, "-m", "supervisor.supervisord", "-c", str(self._configuration)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SystemFaultError(f"supervisord did not start: {done.stderr.strip()[-500:]}")
        wait_until(self.is_running, 10, "supervisord does not answer")

    def start_programs(self, names: list[str]) -> None:
        """Start programs that wait for it. Raises :class:`SystemFaultError` naming one that does not start."""
        for name in names:
            self._call("startProcess", name, False)

    def stop_program(self, name: str) -> None:
        """End one program and leave it ended. Raises :class:`UnavailableError` if nothing runs."""
        self._call("stopProcess", name, True)

    def signal(self, name: str, signal: str) -> None:
        """Send a signal (``STOP``, ``CONT``, ``KILL``) to one program."""
        self._call("signalProcess", name, signal)

    def is_running(self) -> bool:
        """Whether supervisord answers."""
        try:
            self._call("getState")
        except UnavailableError:
            return False
        return True

    def status(self) -> list[tuple[str, str, str]]:
        """Name, state and description of each program. Raises :class:`UnavailableError` if nothing runs."""
        processes = self._call("getAllProcessInfo")
        return [(entry["name"], entry["statename"], entry["description"]) for entry in processes]

    def stop(self) -> None:
        """End all programs and supervisord; returns when they and all that they started are gone."""
        if not self.is_running():
            return
        pid = int((self._run / "supervisor.pid").read_text())
        family = psutil.Process(pid).children(recursive=True)
        main = psutil.Process(pid)
        self._call("shutdown")
        _, left = psutil.wait_procs([main, *family], timeout=90)
        if left:
            raise SystemFaultError(f"these processes did not end: {', '.join(str(process.pid) for process in left)}")
        _unmount_below(self._run)
        shutil.rmtree(self._run)

    def _call(self, method: str, *arguments: object) -> list[dict[str, str]]:
        if not self._socket.exists():
            raise UnavailableError(f"nothing runs in {self._folder}")
        transport = SupervisorTransport(None, None, serverurl=f"unix://{self._socket}")
        try:
            return getattr(ServerProxy("http://127.0.0.1", transport=transport).supervisor, method)(*arguments)  # type: ignore[no-any-return]
        except (OSError, Fault) as error:
            raise UnavailableError(f"supervisord of {self._folder} does not answer: {error}") from error


def _unmount_below(folder: Path) -> None:
    """A Docker engine leaves its network namespaces mounted when it ends."""
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for place in reversed(mounts):
        if Path(place).is_relative_to(folder):
            subprocess.run(["umount", place], check=True)


def _quoted(word: str) -> str:
    return "'" + word.replace("'", "'\\''") + "'"


def alive(folder: Path, name: str) -> bool:
    """Whether the program whose pid file is ``run/NAME.pid`` is there."""
    try:
        pid = int((folder / "run" / f"{name}.pid").read_text())
        os.kill(pid, 0)
    except (OSError, ValueError):
        return False
    return True

"""The process that has the engine loaded: started at the first need and after its end, gone once nobody uses it."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from typing import IO

from fedproc.common.tasks import StopFlag

IDLE_SECONDS = 60.0
_PROGRAM = "fedproc.site.policy.engine.fork_server"
_ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "PYTHONPATH", "PYTHONHOME", "PYTHONDONTWRITEBYTECODE")
_LOOK_SECONDS = 0.2
"""between two looks at the flag"""
_ANSWER_SECONDS = 5.0
"""that a server has to take a question, and to kill a process; after that it hangs, and another one is started"""


class ServerGoneError(OSError):
    """The fork server ended in the middle of an inspection. The same question may be asked again."""


class ForkServer:
    """Of one process, whose threads may use it side by side.

    The server gets none of our descriptors, and of our variables only those that Python needs.
    """

    def __init__(self, idle_seconds: float = IDLE_SECONDS) -> None:
        self._idle_seconds = idle_seconds
        self._lock = threading.Lock()
        self._control: socket.socket | None = None
        self.process: subprocess.Popen[bytes] | None = None
        """the latest; it may have ended"""

    def run(self, question: IO[bytes], answer: IO[bytes], flag: StopFlag, end: float) -> int | None:
        """The exit code of a process that answers; None if it goes on at ``end`` (monotonic). It is over on return.

        Raises :class:`ServerGoneError`, StoppedError, and OSError if no process can be had.
        """
        line, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with line:
            with far:
                server = self._ask([question.fileno(), answer.fileno(), far.fileno()])
            try:
                return _exit_code(line, flag, end)
            finally:
                _end(line, server)

    def _ask(self, descriptors: list[int]) -> subprocess.Popen[bytes]:
        with self._lock:
            if self.process is not None and self._send(descriptors):
                return self.process
            self.process = self._started()
            if self._send(descriptors):
                return self.process
        raise ServerGoneError(f"{_PROGRAM} ended as soon as it was started")

    def _send(self, descriptors: list[int]) -> bool:
        try:
            return self._control is not None and socket.send_fds(self._control, [b"?"], descriptors) == 1
        except OSError:
            return False

    def _started(self) -> subprocess.Popen[bytes]:
        if self.process is not None and self._control is not None:  # it hangs, or has ended
            self.process.kill()
            self._control.close()
        self._control, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.settimeout(_ANSWER_SECONDS)
        environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        command = [sys.executable, "-m", _PROGRAM, str(self._idle_seconds)]
        null = subprocess.DEVNULL
        with far:
            process = subprocess.Popen(command, stdin=far.fileno(), stdout=null, stderr=null, env=environment)
        threading.Thread(target=process.wait, name="fork-server-wait", daemon=True).start()  # no zombie stays
        return process


def _exit_code(line: socket.socket, flag: StopFlag, end: float) -> int | None:
    line.settimeout(_LOOK_SECONDS)
    while time.monotonic() < end:
        flag.check()
        with contextlib.suppress(TimeoutError):
            return _received(line)
    return None


def _received(line: socket.socket) -> int:
    try:
        code = line.recv(16)
    except ConnectionError:
        code = b""
    if not code:
        raise ServerGoneError(f"{_PROGRAM} ended, or could start no process for an inspection")
    return int(code)


def _end(line: socket.socket, server: subprocess.Popen[bytes]) -> None:
    """Have the process killed, if it still goes on, and wait until it is."""
    line.settimeout(_ANSWER_SECONDS)
    try:
        line.shutdown(socket.SHUT_WR)
        line.recv(16)
    except TimeoutError:
        server.kill()
    except OSError:  # the server has gone, and its processes with it
        return

"""``python -m fedproc.site.policy.engine.fork_server``: has the engine loaded, and forks a process for each inspection.

Standard input is a socket of :mod:`fedproc.site.policy.engine.warm`, which starts it. Each message there brings three
descriptors: the question, where the answer goes, and a socket on which the server sends the exit code; once the other
end of that is closed, the process is killed. The server ends with the first socket, or after some time without an
inspection, and its processes end with it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import selectors
import signal
import socket
import sys
from dataclasses import dataclass
from typing import BinaryIO

from fedproc.site.policy.engine.inspecting import inspect, load

_PR_SET_PDEATHSIG = 1
_HIGHEST_DESCRIPTOR = 1 << 16
_LIBC = ctypes.CDLL(None)


@dataclass(frozen=True)
class _Inspection:
    pid: int
    process: int
    """its pidfd"""
    line: socket.socket


def main() -> None:
    """Serve the socket that is standard input, for as many seconds without use as the first argument says."""
    load()
    _Server(socket.socket(fileno=0), float(sys.argv[1])).serve()


class _Server:
    def __init__(self, control: socket.socket, idle_seconds: float) -> None:
        self._control, self._idle_seconds = control, idle_seconds
        self._selector = selectors.DefaultSelector()
        self._selector.register(control, selectors.EVENT_READ)
        self._running: set[int] = set()

    def serve(self) -> None:
        while ready := self._selector.select(None if self._running else self._idle_seconds):
            for key, _ in ready:
                if key.data is not None:
                    self._serve_inspection(key.data, ended=key.fd == key.data.process)
                elif not self._begin():
                    return

    def _begin(self) -> bool:
        """Whether somebody is still there to ask."""
        message, received, _, _ = socket.recv_fds(self._control, 1, 3)
        if not message:
            return False
        question, answer, line = received
        with contextlib.suppress(BlockingIOError):  # no process to be had: no exit code is sent
            self._watch(_forked(question, answer), os.dup(line))
        for descriptor in received:
            os.close(descriptor)
        return True

    def _watch(self, pid: int, line: int) -> None:
        inspection = _Inspection(pid, os.pidfd_open(pid), socket.socket(fileno=line))
        self._running.add(pid)
        for each in (inspection.process, inspection.line):
            self._selector.register(each, selectors.EVENT_READ, inspection)

    def _serve_inspection(self, inspection: _Inspection, *, ended: bool) -> None:
        if inspection.pid not in self._running:  # both of its descriptors were ready
            return
        if not ended:
            os.kill(inspection.pid, signal.SIGKILL)
        _, status = os.waitpid(inspection.pid, 0)
        self._running.remove(inspection.pid)
        for each in (inspection.process, inspection.line):
            self._selector.unregister(each)
        os.close(inspection.process)
        with inspection.line, contextlib.suppress(OSError):
            inspection.line.send(str(os.waitstatus_to_exitcode(status)).encode())


def _forked(question: int, answer: int) -> int:
    server = os.getpid()
    pid = os.fork()
    if pid == 0:
        _be_the_inspection(server, question, answer)
    return pid


def _be_the_inspection(server: int, question: int, answer: int) -> None:
    """Never returns. Holds nothing of the server's but its own question and answer."""
    code = 1
    try:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() == server:
            os.dup2(question, 0)
            os.dup2(answer, 1)
            os.closerange(3, _HIGHEST_DESCRIPTOR)
            inspect(_opened(0, "rb"), _opened(1, "wb"))
            code = 0
    finally:
        os._exit(code)


def _opened(descriptor: int, mode: str) -> BinaryIO:
    return os.fdopen(descriptor, mode, closefd=False)  # type: ignore[return-value]


if __name__ == "__main__":
    main()

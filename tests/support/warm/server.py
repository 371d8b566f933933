"""Runs programs in processes of their own, forked from one that has their libraries already: ``server.py SOCKET``.

A tool that takes a tenth of a second is else started by two seconds of imports. It is run by its own interpreter, with
its own arguments, environment, folder, and standard streams, from the beginning of its ``main.py``; what a program
imports beside its own source is imported here, too, once one has ended, and is there for those that come after it.
Standard library alone: the interpreter is the tool's.
"""

import atexit
import contextlib
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import sys
from pathlib import Path


class Server:
    """Forks; what it waits for are requests, ends, signals and lessons."""

    def __init__(self, address):
        self.watched = selectors.DefaultSelector()
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(address)
        self.listener.listen(16)
        self.watch(self.listener, self.accept)
        self.learned = set()
        """kinds of programs (file and first argument) whose libraries are here"""

    def watch(self, file, act, *arguments):
        self.watched.register(file, selectors.EVENT_READ, (act, arguments))

    def program(self):
        """In a child: the arguments of what it is to run."""
        while True:
            for key, _ in self.watched.select():
                act, arguments = key.data
                if found := act(*arguments):
                    return found

    def accept(self):
        connection, _ = self.listener.accept()
        text, streams, _, _ = socket.recv_fds(connection, 1 << 20, 3)
        while not text.endswith(b"\n"):
            text += connection.recv(1 << 20)
        asked = json.loads(text)
        kind = tuple(asked["argv"][:2])
        lesson = os.pipe() if kind not in self.learned else None
        self.learned.add(kind)
        process = os.fork()
        if process == 0:
            self.close(connection)
            become(asked, streams, lesson)
            return asked["argv"]
        for stream in streams:
            os.close(stream)
        if lesson is not None:
            os.close(lesson[1])
            self.watch(lesson[0], self.learn, lesson[0])
        self.watch(connection, self.forward, process, connection)
        ended = os.pidfd_open(process)
        self.watch(ended, self.end, ended, process, connection)
        return None

    def close(self, connection):
        """Before a program: who waits for another one's end must not wait for this one's, too."""
        for key in list(self.watched.get_map().values()):
            key.fileobj.close() if isinstance(key.fileobj, socket.socket) else os.close(key.fileobj)
        self.watched.close()
        connection.close()

    def learn(self, pipe):
        self.watched.unregister(pipe)
        with os.fdopen(pipe) as lesson:
            names = lesson.read().split()
        for name in names:
            with contextlib.suppress(Exception):  # what another module has made up, or what is there in programs alone
                importlib.import_module(name)
        threads = list(Path("/proc/self/task").iterdir())
        assert len(threads) == 1, "a library has started a thread, which no child would have"

    def forward(self, process, connection):
        """What its starter was sent; SIGKILL once that has ended itself."""
        number = connection.recv(1)
        if not number:
            self.watched.unregister(connection)
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, number[0] if number else signal.SIGKILL)

    def end(self, ended, process, connection):
        self.watched.unregister(ended)
        os.close(ended)
        _, status = os.waitpid(process, 0)
        with contextlib.suppress(OSError):
            connection.send(str(os.waitstatus_to_exitcode(status)).encode())
        with contextlib.suppress(KeyError):
            self.watched.unregister(connection)
        connection.close()


def become(asked, streams, lesson):
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    if lesson is not None:
        os.close(lesson[0])
        atexit.register(tell, lesson[1], str(Path(asked["argv"][0]).parent))


def tell(pipe, source):
    """The names of what was imported, but for the program's own."""
    files = {name: str(getattr(module, "__file__", None) or "") for name, module in list(sys.modules.items())}
    with os.fdopen(pipe, "w") as target:
        target.write("\n".join(name for name, file in files.items() if not file.startswith(source)))


if __name__ == "__main__":
    server = Server(sys.argv[1])
    sys.stdout.write("listens\n")
    sys.stdout.flush()
    sys.argv = server.program()
    sys.path[0] = str(Path(sys.argv[0]).parent)
    runpy.run_path(sys.argv[0], run_name="__main__")

"""The first process of a job's container: it confines the job, watches it, and tells how it ended.

Standard library only, one file, so that it can be shown read-only to any image. ``/fedproc/control`` has its order
(``order.json``) and, later, ``stop``; what the job prints goes to
two files; how it ended to the container's termination message, under a key that the job does not know.

The job gets a network namespace of its own where its container may make one. Where not, it has the pod's, and is
started only if nothing answers there: a cluster whose network plugin ignores NetworkPolicies runs no job.
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import fcntl
import json
import os
import resource
import selectors
import signal
import socket
import struct
import sys
import time
from datetime import datetime, timezone
from typing import Any

CONTROL = "/fedproc/control"
OUTPUT = {"stdout": "/fedproc/output/stdout", "stderr": "/fedproc/output/stderr"}
MESSAGE = "/dev/termination-log"
WORK = "/fedproc/work"
KEY, NODE = "FEDPROC_KEY", "FEDPROC_NODE"
KUBELET = 10250
STOPPING = (signal.SIGTERM, signal.SIGINT)
NOT_FOUND, NOT_RUNNABLE, REFUSED = 127, 126, 125
LOOK_SECONDS, LIMIT_SECONDS = 0.1, 0.5
GATE_SECONDS, GATE_TRIES = 0.3, 20
NEW_USER, NEW_NETWORK = 0x10000000, 0x40000000
SET_DUMPABLE, DROP_BOUND, NO_NEW_PRIVILEGES, SET_SECCOMP, FILTER = 4, 24, 38, 22, 2
GET_FLAGS, SET_FLAGS, UP_AND_RUNNING = 0x8913, 0x8914, 0x41
LIBC = ctypes.CDLL(None, use_errno=True)

sys.path.insert(0, CONTROL)  # isolated Python looks nowhere else than in its library
import measures  # noqa: E402


class Output:
    """The first bytes of a stream in a file, the rest counted."""

    def __init__(self, name: str, limit: int) -> None:
        self.name = name
        self._file = os.open(OUTPUT[name], os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        self._left = limit
        self.kept = self.dropped = 0

    def write(self, data: bytes) -> None:
        kept = data[: self._left]
        try:
            while kept:
                written = os.write(self._file, kept)
                self._left -= written
                self.kept += written
                data, kept = data[written:], kept[written:]
        except OSError:  # the disk is full; the job must not hang for it, so the rest is counted only
            self._left = 0
        self.dropped += len(data)


class Launcher:
    """One job, from its start to its end."""

    def __init__(self, order: dict[str, Any]) -> None:
        self.order = order
        self.outputs: dict[int, Output] = {}
        self.device = os.stat(WORK).st_dev
        self.pid = 0
        self.code: int | None = None
        self.facts: dict[str, Any] = {"network": "", "limit": None, "detail": "", "fault": "", "cancelled": False}
        self.kill_at: float | None = None
        self.began = 0.0

    def run(self) -> int:
        """Start it, and return its exit code when nothing of it is left."""
        wakes, wake = os.pipe()
        for end in (wakes, wake):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(wake)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in STOPPING:
            signal.signal(number, lambda *_: self.stop())
        self.began = time.monotonic()
        self.facts["started"] = now()
        signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)  # until it is known whom to pass it on to
        if self.asked_to_stop():
            self.facts["cancelled"] = True
            return 128 + signal.SIGTERM
        self.start()
        LIBC.prctl(SET_DUMPABLE, 0 if self.facts["network"] != "own" else 1, 0, 0, 0)
        self.follow(wakes)
        return self.code if self.code is not None else REFUSED

    def start(self) -> None:
        report, reported = os.pipe()
        pipes = {name: os.pipe() for name in OUTPUT}
        self.pid = os.fork()
        if self.pid == 0:
            os.close(report)
            become(self.order, reported, [pipes[name][1] for name in OUTPUT])
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
        os.close(reported)
        for name, (source, sink) in pipes.items():
            os.close(sink)
            os.set_blocking(source, False)
            self.outputs[source] = Output(name, self.order["log"])
        with os.fdopen(report, "rb") as sent:  # ends when the command is there, or could not be
            text = sent.read().decode()
        for line in text.splitlines():
            self.facts.update(json.loads(line))

    def follow(self, wakes: int) -> None:
        """Carry its output and hold it to its limits until all is over."""
        watch, next_look = selectors.DefaultSelector(), 0.0
        watch.register(wakes, selectors.EVENT_READ)
        for end in self.outputs:
            watch.register(end, selectors.EVENT_READ)
        while not self.reaped() or len(watch.get_map()) > 1:
            for found, _ in watch.select(LOOK_SECONDS):
                if found.fd == wakes:
                    os.read(wakes, 4096)
                elif not self.carry(found.fd):
                    watch.unregister(found.fd)
            if self.code is not None:
                kill_all()  # what it left behind ends with it; their ends of the pipes close
            elif time.monotonic() >= next_look:
                self.check()
                next_look = time.monotonic() + LIMIT_SECONDS
            if self.code is None and self.asked_to_stop():
                self.stop()
            if self.kill_at is not None and time.monotonic() >= self.kill_at:
                kill_all()

    def carry(self, end: int) -> bool:
        try:
            data = os.read(end, 1 << 16)
        except BlockingIOError:
            return True
        self.outputs[end].write(data)
        return bool(data)

    def reaped(self) -> bool:
        """Whether no process but this one is left. Notes the end of the command."""
        while True:
            try:
                found, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return True
            if found == 0:
                return False
            if found == self.pid:
                code = os.waitstatus_to_exitcode(status)
                self.code = code if code >= 0 else 128 - code
                self.check()

    def asked_to_stop(self) -> bool:
        """Whether ``stop`` is there; what it says, ``now``, leaves no grace."""
        if not os.path.exists(f"{CONTROL}/stop"):
            return False
        if measures.text_of(f"{CONTROL}/stop") == "now":
            self.kill_at = 0.0
        return True

    def stop(self) -> None:
        """Signal the command, and kill all after its grace; asked once."""
        if self.kill_at is None and self.code is None:
            self.facts["cancelled"] = True
            self.kill_at = time.monotonic() + self.order["grace"]
            with contextlib.suppress(ProcessLookupError):
                if self.pid:
                    os.kill(self.pid, getattr(signal, self.order["signal"]))

    # -- limits ----------------------------------------------------------------------------------

    def check(self) -> None:
        """Note and end what has passed a limit."""
        found = self.passed()
        if found and self.facts["limit"] is None:
            self.facts["limit"], self.facts["detail"] = found
            kill_all()

    def passed(self) -> tuple[str, str] | None:
        order = self.order
        if measures.killed_for_memory():
            return "memory", f"it needed more than {measures.megabytes(order['memory'])}"
        processes = [name for name in os.listdir("/proc") if name.isdigit() and int(name) != os.getpid()]
        if sum(map(measures.threads, processes)) > order["pids"]:
            return "pids", f"it had more than the {order['pids']} processes and threads that it may have"
        if measures.removed_but_open(processes, self.device) > order["disk"]:
            return "disk", f"it wrote more than {measures.megabytes(order['disk'])}"
        return None

    def message(self, key: str) -> str:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.facts |= {
            "key": key,
            "ended": now(),
            "seconds": round(time.monotonic() - self.began, 6),
            "cpu_seconds": round(used.ru_utime + used.ru_stime, 3),
            "memory_peak": measures.memory_peak() or used.ru_maxrss * 1024,
            "dropped": sum(output.dropped for output in self.outputs.values()),
            "kept": {output.name: output.kept for output in self.outputs.values()},
        }
        for name in ("detail", "fault"):
            self.facts[name] = measures.short(self.facts[name])
        return json.dumps(self.facts)


def become(order: dict[str, Any], report: int, output: list[int]) -> None:
    """In the child: be confined, and become the command. Does not return."""
    code = REFUSED
    try:
        os.set_inheritable(report, False)
        signal.set_wakeup_fd(-1)
        for usual in (signal.SIGCHLD, *STOPPING, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(usual, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
        own = own_network()
        send(report, network="own" if own else "pod's")
        if not own and (reached := what_answers(order["gate"])):
            send(report, fault=f"{reached} answers from inside its pod")
            return
        os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
        for number, end in enumerate(output, 1):
            os.dup2(end, number)
        for name, value in order["rlimits"].items():
            kind = getattr(resource, f"RLIMIT_{name}")
            most = resource.getrlimit(kind)[1]
            limit = value if most == resource.RLIM_INFINITY else min(value, most)
            resource.setrlimit(kind, (limit, limit))
        os.chdir(WORK)
        environment = variables(order["environment"])
        confine(base64.b64decode(order["filter"]))
        code = NOT_FOUND
        os.execvpe(order["command"][0], order["command"], environment)
    except FileNotFoundError as error:
        send(report, detail=f"{error.filename or order['command'][0]}: {error.strerror}")
    except OSError as error:
        code = NOT_RUNNABLE if code == NOT_FOUND else REFUSED
        what = f"{order['command'][0]}: {error.strerror}"
        send(report, **({"detail": what} if code == NOT_RUNNABLE else {"fault": f"it cannot be confined: {error}"}))
    finally:
        os._exit(code)


def send(report: int, **facts: str) -> None:
    os.write(report, json.dumps(facts).encode() + b"\n")


def variables(own: dict[str, str]) -> dict[str, str]:
    """Those of the image and of the order, without what a cluster adds."""
    added = ("KUBERNETES_", KEY, NODE)
    return {name: value for name, value in os.environ.items() if not name.startswith(added)} | own


def own_network() -> bool:
    """Move into a network namespace with nothing but its loopback, if this container may make one."""
    uid, gid = os.getuid(), os.getgid()
    if LIBC.unshare(NEW_USER | NEW_NETWORK) != 0:
        return False
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        asked = struct.pack("16sH14x", b"lo", 0)
        flags = struct.unpack("16sH14x", fcntl.ioctl(any_socket, GET_FLAGS, asked))[1]
        fcntl.ioctl(any_socket, SET_FLAGS, struct.pack("16sH14x", b"lo", flags | UP_AND_RUNNING))
    number = 0
    while LIBC.prctl(DROP_BOUND, number, 0, 0, 0) == 0:  # the others go with exec, as this user is not root
        number += 1
    return True


def what_answers(targets: list[list[Any]]) -> str:
    """The address that answers when nothing should; a policy may come some seconds after its pod."""
    places = [(str(host), int(port)) for host, port in targets]
    if "KUBERNETES_SERVICE_HOST" in os.environ:
        places.append((os.environ["KUBERNETES_SERVICE_HOST"], int(os.environ["KUBERNETES_SERVICE_PORT"])))
    if os.environ.get(NODE):
        places.append((os.environ[NODE], KUBELET))
    answered = ""
    for _ in range(GATE_TRIES):
        answered = next((f"{host}:{port}" for host, port in places if answers(host, port)), "")
        if not answered:
            return ""
        time.sleep(GATE_SECONDS)
    return answered


def answers(host: str, port: int) -> bool:
    """Whether a packet comes back, be it a refusal."""
    try:
        socket.create_connection((host, port), GATE_SECONDS).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return True


def confine(program: bytes) -> None:
    """No new privileges, and no system call that the filter refuses."""

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_char_p))

    made = Program(len(program) // 8, program)
    if LIBC.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0) or LIBC.prctl(SET_SECCOMP, FILTER, ctypes.byref(made), 0, 0):
        raise OSError(ctypes.get_errno(), f"seccomp: {os.strerror(ctypes.get_errno())}")


def kill_all() -> None:
    """SIGKILL to all but this one, which is the first of its process namespace."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(-1, signal.SIGKILL)


def now() -> str:
    return datetime.now(timezone.utc).isoformat()  # noqa: UP017 (images may have Python 3.9)


def main() -> int:
    if os.getpid() != 1:
        print("this is the first program of a job's container, and ends all others", file=sys.stderr)
        return REFUSED
    with open(f"{CONTROL}/order.json") as file:
        launcher = Launcher(json.load(file))
    key = os.environ.get(KEY, "")
    code = launcher.run()
    with open(MESSAGE, "w") as file:
        file.write(launcher.message(key))
    return code


if __name__ == "__main__":
    sys.exit(main())

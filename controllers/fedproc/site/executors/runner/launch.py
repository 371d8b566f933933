"""From a fork to bwrap: what the child does to itself before it becomes the sandbox.

The runner forks itself, which is safe because it has one thread; an interpreter started for each job would cost more
than most sandboxes do.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from fedproc.site.executors.runner.children import readable, reap, started

STAGE = "/mnt"
"""Where a runner that is root shows a job's folders to bwrap, in a mount namespace of the job's own: so the job's
user needs no way through the folders above them, and what else lies there stays out of its sight."""
_OPEN_FILES = 4096
_FAULT_BYTES = 2000
_CLONE_NEWNS, _MS_BIND, _MS_REC, _MS_PRIVATE = 0x00020000, 4096, 16384, 1 << 18
_libc = ctypes.CDLL(None, use_errno=True)


class LaunchError(Exception):
    """The child could not become what it should; says at what it failed."""


async def launch(
    command: Sequence[str], *, output: int, errors: int, keep: Sequence[int], before: Callable[[], None]
) -> int:
    """Fork, call ``before`` in the child, and replace it by ``command``; returns its process id.

    It has no environment, no input, a session of its own, and of this process's descriptors only those in ``keep``.
    Raises :class:`LaunchError`; then there is no child. Others are not kept waiting meanwhile.
    """
    read_end, write_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    pid = os.fork()
    if pid == 0:
        _become(command, (output, errors), keep, before, write_end)
    started(pid)
    os.close(write_end)
    try:
        await readable(read_end)
        error = os.read(read_end, _FAULT_BYTES)
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        reap(pid)
        raise
    finally:
        os.close(read_end)
    if error:
        reap(pid)
        raise LaunchError(error.decode())
    return pid


def _become(
    command: Sequence[str], outputs: tuple[int, int], keep: Sequence[int], before: Callable[[], None], write_end: int
) -> NoReturn:
    try:
        os.setsid()
        os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
        for number, descriptor in enumerate(outputs, 1):
            os.dup2(descriptor, number)
        for number in (signal.SIGPIPE, signal.SIGXFSZ):  # the interpreter ignores them, and exec passes that on
            signal.signal(number, signal.SIG_DFL)
        before()
        for descriptor in keep:
            os.set_inheritable(descriptor, True)
        os.execve(command[0], list(command), {})  # noqa: S606
    except BaseException as error:  # noqa: BLE001 (nothing may escape into the parent's code; the parent reports it)
        os.write(write_end, str(error).encode(errors="replace")[:_FAULT_BYTES] or b"unknown fault")
    finally:
        os._exit(127)


def limit_resources(file_size: int) -> None:
    """Bound what the kernel counts per process; the rest is the control group's and the disk watch's."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = _OPEN_FILES if most == resource.RLIM_INFINITY else min(_OPEN_FILES, most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))


def become_user(uid: int, groups: Sequence[int]) -> None:
    """Stop being root, for good."""
    os.setgroups(list(groups))
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def stage(sources: Sequence[Callable[[], int]]) -> None:
    """Show what each source opens at :data:`STAGE`/index. Raises OSError naming the one that cannot be shown.

    They are called in the mount namespace of the job, which shows nothing that was opened outside.
    """
    _check(_libc.unshare(_CLONE_NEWNS), "a mount namespace")
    _mount("none", "/", None, _MS_REC | _MS_PRIVATE)
    opened = [source() for source in sources]
    _mount("tmpfs", STAGE, "tmpfs", 0)
    for index, descriptor in enumerate(opened):
        place = Path(staged(index))
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            place.mkdir()
        else:
            place.touch()
        _mount(f"/proc/self/fd/{descriptor}", str(place), None, _MS_BIND | _MS_REC)


def staged(index: int) -> str:
    """Where the source of this index is shown."""
    return f"{STAGE}/{index}"


def _mount(source: str, target: str, kind: str | None, flags: int) -> None:
    encoded = kind.encode() if kind else None
    _check(_libc.mount(source.encode(), target.encode(), encoded, flags, None), f"mounting at {target}")


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)

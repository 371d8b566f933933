"""Which files this job can see, read and write."""

from __future__ import annotations

import os
import re
import stat
import time
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from findings import Check, Finding, Job, listed, told

HOST_FILES = (
    "/etc/shadow",
    "/etc/gshadow",
    "/etc/sudoers",
    "/etc/ssh/ssh_host_ed25519_key",
    "/etc/ssh/ssh_host_rsa_key",
    "/etc/krb5.keytab",
    "/etc/fedproc",
    "/etc/rabbitmq",
    "/root",
    "/home",
    "/boot",
    "/var/lib/fedproc",
    "/var/lib/docker",
    "/var/lib/rabbitmq",
    "/run/secrets",
)
SHARED_SCRATCH = ("/tmp", "/dev/shm", "/dev/mqueue")
"""Writable besides the work folder: every executor gives a job its own."""

JOB_NAME = re.compile(r"^j-[0-9a-v]{26}")
DEVICES = frozenset(["null", "zero", "full", "random", "urandom", "tty", "console", "ptmx", "core"])
KERNELS_OWN = frozenset({"/proc", "/sys", "/dev/pts"})
"""Folders in which nobody can make a file, whatever their modes say."""

MOST_FOLDERS = 4_000
MOST_SECONDS = 1.5


@dataclass
class Seen:
    """What one walk over the visible file system met."""

    folders: int = 0
    complete: bool = True
    writable: list[str] = field(default_factory=list)
    sockets: list[str] = field(default_factory=list)
    jobs: set[str] = field(default_factory=set)


def tree(job: Job) -> Iterator[Finding]:
    """Folders that can be written, sockets that can be reached, and other jobs' names, anywhere."""
    seen = _walk(job)
    extent = f"; {seen.folders} folders looked at" + ("" if seen.complete else ", nearest first, then time was up")
    allowed = ", ".join(("the work folder", *SHARED_SCRATCH))
    yield Finding("writable_folders", f"only {allowed}", listed(seen.writable) + extent, not seen.writable)
    yield Finding("unix_sockets", "none that can be reached", listed(seen.sockets) + extent, not seen.sockets)
    yield Finding("other_jobs", "none visible", listed(sorted(seen.jobs)) + extent, not seen.jobs)


def root(_: Job) -> Iterator[Finding]:
    fixed = bool(os.statvfs("/").f_flag & os.ST_RDONLY) or not os.access("/", os.W_OK)
    yield Finding("root_file_system", "read-only", "read-only" if fixed else "writable", fixed)
    yield told("mounts", listed((f"{place} ({options.split(',')[0]})" for place, options in _mounts()), most=60))


def host_files(_: Job) -> Iterator[Finding]:
    readable = [path for path in HOST_FILES if _holds_something(Path(path))]
    yield Finding("host_files", "absent, empty or not readable", listed(readable, "as expected"), not readable)


def devices(_: Job) -> Iterator[Finding]:
    odd = [path.name for path in Path("/dev").iterdir() if _is_device(path) and path.name not in DEVICES]
    yield Finding("devices", "none but the harmless ones", listed(sorted(odd)), not odd)


def work(job: Job) -> Iterator[Finding]:
    probe = job.work / ".acceptance"
    probe.write_bytes(b"x")
    probe.unlink()
    space = os.statvfs(job.work)
    yield Finding("work_folder", "writable", f"writable, {space.f_bavail * space.f_frsize // 10**6} MB free")


def datasets(job: Job) -> Iterator[Finding]:
    for folder in sorted(path for path in job.input.glob("dataset/*") if path.is_dir()):
        found = [path for path in folder.rglob("*") if not path.is_dir() or path.is_symlink()]
        sizes = [path.stat().st_size for path in found if path.is_file() and not path.is_symlink()]
        everything = [folder, *found, *(path for path in folder.rglob("*") if path.is_dir())]
        kinds = Counter("regular" if path.is_file() and not path.is_symlink() else "other" for path in found)
        writable = sum(os.access(path, os.W_OK) for path in everything)
        text = f"{kinds['regular']} files, {kinds['other']} others, {sum(sizes)} bytes, {writable} writable"
        ok = bool(sizes) and not kinds["other"] and not writable
        yield Finding(f"dataset {folder.name}", "regular files, readable, none writable", text, ok)


def _walk(job: Job) -> Seen:
    # Where a socket is mounted over a file, a listing of the folder still tells of the file.
    seen = Seen(sockets=[place for place, _ in _mounts() if _is_reachable_socket(place)])
    ends, queue = time.monotonic() + MOST_SECONDS, deque(["/"])
    allowed = tuple(map(os.path.realpath, (str(job.work), *SHARED_SCRATCH)))
    while queue:
        if seen.folders >= MOST_FOLDERS or time.monotonic() > ends:
            seen.complete = False
            break
        folder = queue.popleft()
        seen.folders += 1
        if os.access(folder, os.W_OK) and not f"{folder}/".startswith(tuple(f"{path}/" for path in allowed)):
            seen.writable.append(folder)
        queue.extend(_look_into(folder, seen, job.id))
    return seen


def _look_into(folder: str, seen: Seen, own_job: str) -> list[str]:
    """Note sockets and jobs in the folder; returns the folders below, but for the kernel's own."""
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return []  # what cannot be listed is not visible
    names = {entry.name for entry in entries if JOB_NAME.match(entry.name)}
    seen.jobs |= {name for name in names if not name.startswith(own_job)}
    special = [e for e in entries if not (e.is_dir(follow_symlinks=False) or e.is_file(follow_symlinks=False))]
    seen.sockets += [entry.path for entry in special if _is_reachable_socket(entry.path)]
    return [e.path for e in entries if e.is_dir(follow_symlinks=False) and e.path not in KERNELS_OWN]


def _mounts() -> list[tuple[str, str]]:
    """Mount points with their options."""
    fields = (line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines())
    return [(entry[4], entry[5]) for entry in fields]


def _is_reachable_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.lstat(path).st_mode) and os.access(path, os.W_OK)
    except OSError:
        return False  # gone, or not to be looked at, so not to be reached


def _holds_something(path: Path) -> bool:
    if path.is_dir():
        return os.access(path, os.R_OK | os.X_OK) and any(path.iterdir())
    return os.access(path, os.R_OK)


def _is_device(path: Path) -> bool:
    mode = path.lstat().st_mode
    return stat.S_ISBLK(mode) or stat.S_ISCHR(mode)


CHECKS: tuple[Check, ...] = (tree, root, host_files, devices, work, datasets)

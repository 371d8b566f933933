"""Who this job is, and what the kernel lets it do."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from findings import Check, Finding, Job, listed, told

MOST_PROCESSES = 8
"""The job itself and what an executor may put beside it in the same namespace: an init, a forwarder."""

SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL|COOKIE", re.IGNORECASE)
OVERFLOW_GROUP = 65534

MOUNT_UNKNOWN = """
import ctypes, errno
libc = ctypes.CDLL(None, use_errno=True)
libc.mount(b"none", b"/", b"no-such-filesystem", 0, None)
raise SystemExit(0 if ctypes.get_errno() in (errno.EPERM, errno.EACCES, errno.ENOSYS) else 1)
"""
"""Mounts nothing in any case: who may mount is told that the kind is unknown, who may not that he may not."""

NEW_USER_NAMESPACE = """
import ctypes
raise SystemExit(0 if ctypes.CDLL(None).unshare(0x10000000) else 1)
"""
BECOME_ROOT = """
import os
try:
    os.setuid(0)
except OSError:
    raise SystemExit(0)
raise SystemExit(1)
"""


def user(_: Job) -> Iterator[Finding]:
    uids = {os.getuid(), os.geteuid()}
    yield Finding("user", "not root", f"uid {listed(map(str, sorted(uids)))}", 0 not in uids)
    groups = {os.getgid(), os.getegid(), *os.getgroups()}
    own = {os.getgid(), OVERFLOW_GROUP}
    yield Finding("groups", "its own only, not root's", listed(map(str, sorted(groups))), 0 not in groups <= own)


def privileges(_: Job) -> Iterator[Finding]:
    status = _status("self")
    held = {name: status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}
    some = [f"{name} {value}" for name, value in held.items() if int(value, 16)]
    yield Finding("capabilities", "none in any set", listed(some), not some)
    yield Finding("no_new_privileges", "1", status["NoNewPrivs"], status["NoNewPrivs"] == "1")
    yield told("seccomp", {"0": "off", "1": "strict", "2": "filter"}.get(status["Seccomp"], status["Seccomp"]))


def attempts(_: Job) -> Iterator[Finding]:
    for check, script in (("become_root", BECOME_ROOT), ("mount", MOUNT_UNKNOWN)):
        refused = _refused(script)
        yield Finding(check, "refused", "refused" if refused else "possible", refused)
    yield told("new_user_namespace", "refused" if _refused(NEW_USER_NAMESPACE) else "possible")
    for check, kind in (("raw_socket", (socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)),
                        ("packet_socket", (socket.AF_PACKET, socket.SOCK_RAW, 0))):  # fmt: skip
        opened = _opens(kind)
        yield Finding(check, "refused", "possible" if opened else "refused", not opened)


def kernel(_: Job) -> Iterator[Finding]:
    read = [p for p in ("/dev/mem", "/dev/kmsg", "/proc/kcore", "/proc/kmsg") if os.access(p, os.R_OK)]
    yield Finding("kernel_memory_and_log", "not readable", listed(read, "not readable"), not read)
    settings = ("/proc/sys/kernel/hostname", "/proc/sys/vm/drop_caches", "/proc/sysrq-trigger", "/sys/power/state")
    writable = [path for path in settings if os.access(path, os.W_OK)]
    yield Finding("kernel_settings", "not writable", listed(writable, "not writable"), not writable)


def processes(_: Job) -> Iterator[Finding]:
    visible = [name for name in os.listdir("/proc") if name.isdecimal()]
    owners = {owner for owner in map(_owner, visible) if owner is not None}
    ok = len(visible) <= MOST_PROCESSES and owners <= {os.getuid()}
    expected = f"at most {MOST_PROCESSES}, all of this user"
    yield Finding("processes", expected, f"{len(visible)} of users {listed(map(str, sorted(owners)))}", ok)
    secrets = sorted({name for pid in visible for name in _environment(pid) if SECRET_NAME.search(name)})
    yield Finding("secrets_in_environments", "no such names", listed(secrets), not secrets)


def environment(_: Job) -> Iterator[Finding]:
    yield told("environment_names", listed(sorted(os.environ), most=100))


def _status(process: str) -> dict[str, str]:
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _owner(pid: str) -> int | None:
    try:
        return Path(f"/proc/{pid}").stat().st_uid
    except FileNotFoundError:
        return None  # it has ended since it was listed


def _environment(pid: str) -> list[str]:
    try:
        content = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return []  # not readable, or it has ended: nothing is to be learned from it
    return [part.partition(b"=")[0].decode(errors="replace") for part in content.split(b"\0") if part]


def _refused(script: str) -> bool:
    return subprocess.run([sys.executable, "-I", "-c", script], check=False, timeout=20).returncode == 0


def _opens(kind: tuple[int, int, int]) -> bool:
    try:
        socket.socket(*kind).close()
    except OSError:
        return False
    return True


CHECKS: tuple[Check, ...] = (user, privileges, attempts, kernel, processes, environment)

"""How a job looks that Apptainer runs: what ``apptainer exec`` is told, inside a user namespace of bwrap's.

Apptainer makes the job's namespaces, mounts and devices by itself, as an ordinary user does, from settings of ours: not
by those of the machine, which may show a job its home or ``/sys``. It gives a job the user who called it, so that bwrap
comes first, who makes him user 10001 and says what became of the command.
"""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path

from fedproc.site.executors.confinement.etc import HOSTS, UID, write_accounts
from fedproc.site.executors.confinement.seccomp import engine_profile
from fedproc.site.executors.runner.bubblewrap import TEMPORARY, Sandbox, variables_of
from fedproc.site.executors.runner.order import Order, OrderError

PLACES = ("/usr/bin/apptainer", "/usr/local/bin/apptainer", "/opt/apptainer/bin/apptainer")
"""where it is looked for; whoever may ask a runner does not name a program that it starts"""
MEMORY, PROCESSES = 96 << 20, 48
"""bytes, and processes and threads, that Apptainer's own two programs have in the job's control group"""
NOT_STARTED = 255
"""its exit code, where it could not start the command"""
_FAULT = "FATAL:"
"""how its last words begin then"""
_NOT_THERE = ("executable file not found", "no such file or directory", "permission denied")
_MEGABYTE = 1 << 20
_SETTINGS = """\
allow setuid = no
allow pid ns = yes
allow ipc ns = yes
allow uts ns = yes
allow user ns = yes
config passwd = no
config group = no
config resolv_conf = no
mount proc = yes
mount sys = no
mount dev = no
mount devpts = no
mount home = no
mount tmp = no
mount hostfs = no
user bind control = yes
enable fusemount = no
enable overlay = yes
enable underlay = yes
mount slave = yes
allow container dir = yes
memory fs type = tmpfs
sessiondir max size = {megabytes}
"""
_NO_MORE_NAMESPACES = 'echo 1 > /proc/sys/user/max_user_namespaces && exec "$@"'
"""Apptainer makes the one; its job makes none, whichever call it tries"""


def program() -> str | None:
    """Apptainer of this machine, if it is there."""
    return next((place for place in PLACES if os.access(place, os.X_OK)), None)


def apptainer_for(order: Order, *, folder: Path, staging: bool, status: int) -> Sandbox:
    """One job; what it is told besides is written into ``folder``. ``status`` is as in ``sandbox_for``.

    Raises :class:`OrderError` for an order without image, FileNotFoundError naming what is not there.
    """
    found = program()
    if found is None:
        raise OrderError("Apptainer is not installed here: looked for at " + ", ".join(PLACES))
    if not order.root:
        raise OrderError("Apptainer runs images alone, and this job has none")
    own = folder / "apptainer"
    _write(own, order)
    sandbox = Sandbox(staging)
    settings = sandbox.show(str(own), writable=False, own=True)
    sandbox.arguments += [
        "--dev-bind", "/", "/", "--unshare-user", "--unshare-uts", "--hostname", order.job, "--die-with-parent",
        "--new-session", "--uid", str(UID), "--gid", str(UID), "--cap-drop", "ALL", "--cap-add", "CAP_SYS_RESOURCE",
        "--clearenv", "--setenv", "PATH", "/usr/sbin:/usr/bin:/sbin:/bin", "--json-status-fd", str(status),
    ]  # fmt: skip
    _devices(sandbox, f"{settings}/dev", order.memory // 2)
    for name in ("passwd", "group"):
        sandbox.arguments += ["--ro-bind", f"{settings}/{name}", f"/etc/{name}"]
    for name, value in variables_of(order).items():
        if name != "HOME":  # which is that of /etc/passwd; it may not be set
            sandbox.arguments += ["--setenv", f"APPTAINERENV_{name}", value]
    sandbox.before = ["/bin/sh", "-c", _NO_MORE_NAMESPACES, "sh", *_call(found, sandbox, order, settings)]
    return sandbox


def _devices(sandbox: Sandbox, place: str, shared_memory: int) -> None:
    sandbox.arguments += [
        "--dev", place, "--size", str(shared_memory), "--perms", "1777", "--tmpfs", f"{place}/shm",
    ]  # fmt: skip


def explain(folder: Path) -> tuple[int | None, str] | None:
    """Of one that ended with :data:`NOT_STARTED`: exit code and words, if Apptainer could not start it; else None.

    A job that has printed something was started, whatever it says.
    """
    output, errors = folder / "stdout", folder / "stderr"
    text = errors.read_text(errors="replace") if errors.exists() else ""
    if not text.lstrip().startswith(_FAULT) or (output.exists() and output.stat().st_size):
        return None
    detail = " ".join(text.split())[:500]
    return (127 if any(reason in text for reason in _NOT_THERE) else None), detail


def _call(found: str, sandbox: Sandbox, order: Order, settings: str) -> list[str]:
    call = [
        found, "--silent", "--nocolor", "--config", f"{settings}/apptainer.conf", "exec", "--userns", "--containall",
        "--no-home", "--no-privs", "--no-eval", "--cleanenv", "--no-mount", "bind-paths", "--net", "--network", "none",
        "--security", f"seccomp:{settings}/seccomp.json", "--scratch", TEMPORARY, "--pwd", order.directory,
    ]  # fmt: skip
    for name, place in (("hosts", "/etc/hosts"), ("dev", "/dev")):  # instead of its own, which may be written
        call += ["--mount", _bind(f"{settings}/{name}", place, writable=False)]
    for mounts, writable in ((order.mounts, False), (order.writable, True)):
        for source, target in mounts:
            call += ["--mount", _bind(sandbox.show(source, writable=writable), target, writable=writable)]
    return [*call, sandbox.show(order.root, writable=False)]


def _bind(source: str, target: str, *, writable: bool) -> str:
    """A mount in Apptainer's words, which are a line of CSV: names may have commas and colons."""
    line = io.StringIO()
    fields = ["type=bind", f"source={source}", f"destination={target}", *([] if writable else ["ro"])]
    csv.writer(line, lineterminator="").writerow(fields)
    return line.getvalue()


def _write(folder: Path, order: Order) -> None:
    (folder / "dev").mkdir(parents=True)
    megabytes = max(16, order.memory // 2 // _MEGABYTE)
    profile = engine_profile()
    # Apptainer loads the filter while it still starts threads, which die of a clone3 that is refused.
    profile["syscalls"] = [rule for rule in profile["syscalls"] if rule["names"] != ["clone3"]]
    known = HOSTS + "".join(f"{address} {name}\n" for address, name in order.hosts)
    texts = {
        "apptainer.conf": _SETTINGS.format(megabytes=megabytes),
        "seccomp.json": json.dumps(profile),
        "hosts": known,
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o644)
    write_accounts(folder)

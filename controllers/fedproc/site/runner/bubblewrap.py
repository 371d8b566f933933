"""How a job's sandbox looks: the arguments of ``bwrap``.

Where the runner is root, it shows a job's folders to bwrap below :data:`STAGE`, in a mount namespace of the job's
own: so the job's user needs no way through the folders above them.
"""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

UID = 10001
_SYSTEM_LINKS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_ETC = ("ld.so.cache", "alternatives", "ssl/certs", "localtime", "mime.types")
_GPU_COMMON = ("/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools")
TMP_BYTES = 256 * 1024 * 1024
PATH = "/usr/local/bin:/usr/bin:/bin"
STAGE = "/mnt"
_CLONE_NEWNS, _MS_BIND, _MS_REC, _MS_PRIVATE = 0x00020000, 4096, 16384, 1 << 18
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass
class Sandbox:
    """Arguments of one bwrap call, and what has to be staged for it."""

    staging: bool
    arguments: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)

    def bind(self, source: str | Path, target: str, *, writable: bool = False) -> None:
        """Show ``source`` at ``target``. Raises FileNotFoundError if it is not there."""
        Path(source).stat()
        shown = f"{STAGE}/{len(self.sources)}" if self.staging else str(source)
        self.sources.append(str(source))
        self.arguments += ["--bind" if writable else "--ro-bind", shown, target]

    def stage(self) -> None:
        """Bind the sources below :data:`STAGE`; called as root between fork and exec. Raises OSError."""
        if not self.staging:
            return
        _check(_libc.unshare(_CLONE_NEWNS), "unshare")
        _mount("none", "/", None, _MS_REC | _MS_PRIVATE)
        _mount("tmpfs", STAGE, "tmpfs", 0)
        for index, source in enumerate(self.sources):
            place = Path(STAGE) / str(index)
            if Path(source).is_dir():
                place.mkdir()
            else:
                place.touch()
            _mount(source, str(place), None, _MS_BIND)


def _mount(source: str, target: str, kind: str | None, flags: int) -> None:
    encoded = kind.encode() if kind else None
    _check(_libc.mount(source.encode(), target.encode(), encoded, flags, None), f"mount {source}")


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)


def sandbox_for(spec: dict[str, Any], etc: Path, hosts: Path, status: int) -> Sandbox:
    """The sandbox of one job. ``status`` is the descriptor on which bwrap reports what became of the command.

    Raises FileNotFoundError naming the folder that is not there.
    """
    sandbox = Sandbox(staging=os.geteuid() == 0)
    sandbox.arguments += [
        "--unshare-all", "--die-with-parent", "--new-session", "--clearenv", "--cap-drop", "ALL",
        "--uid", str(UID), "--gid", str(UID), "--hostname", spec["job"], "--json-status-fd", str(status),
    ]  # fmt: skip
    _system(sandbox)
    _devices(sandbox, spec["gpus"])
    for name in ("passwd", "group", "nsswitch.conf", "resolv.conf"):
        sandbox.bind(etc / name, f"/etc/{name}")
    sandbox.bind(hosts, "/etc/hosts")
    for source, target in spec["mounts"]:
        sandbox.bind(source, target)
    for source, target in spec["writable"]:
        sandbox.bind(source, target, writable=True)
    sandbox.arguments += ["--remount-ro", "/", "--chdir", spec["chdir"]]
    for name, value in {"PATH": PATH, "HOME": spec["chdir"], "TMPDIR": "/tmp", **spec["environment"]}.items():  # noqa: S108
        sandbox.arguments += ["--setenv", name, value]
    sandbox.arguments += ["--", *spec["command"]]
    return sandbox


def _system(sandbox: Sandbox) -> None:
    sandbox.arguments += ["--ro-bind", "/usr", "/usr"]
    for name in _SYSTEM_LINKS:
        path = Path("/") / name
        if path.is_symlink():
            sandbox.arguments += ["--symlink", str(path.readlink()), str(path)]
        elif path.is_dir():
            sandbox.arguments += ["--ro-bind", str(path), str(path)]
    for name in _ETC:
        sandbox.arguments += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
    sandbox.arguments += ["--proc", "/proc", "--size", str(TMP_BYTES), "--perms", "1777", "--tmpfs", "/tmp"]  # noqa: S108


def _devices(sandbox: Sandbox, gpus: list[str]) -> None:
    """A minimal /dev; of GPUs only the given device nodes."""
    sandbox.arguments += ["--dev", "/dev", "--size", str(TMP_BYTES), "--perms", "1777", "--tmpfs", "/dev/shm"]  # noqa: S108
    for path in [*_GPU_COMMON, *gpus] if gpus else []:
        sandbox.arguments += ["--dev-bind-try", path, path]
    sandbox.arguments += ["--remount-ro", "/dev"]


def write_etc(folder: Path) -> None:
    """The few files of /etc that every job sees."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "passwd").write_text(
        f"root:x:0:0:root:/:/usr/sbin/nologin\ntool:x:{UID}:{UID}:tool:/fedproc/work:/bin/sh\n"
    )
    (folder / "group").write_text(f"root:x:0:\ntool:x:{UID}:\n")
    (folder / "nsswitch.conf").write_text("passwd: files\ngroup: files\nhosts: files\n")
    (folder / "resolv.conf").write_text("")

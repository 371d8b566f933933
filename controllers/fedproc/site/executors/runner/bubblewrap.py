"""How a job's sandbox looks: the arguments of ``bwrap``."""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from fedproc.site.executors.base import ENVIRONMENT
from fedproc.site.executors.confinement.etc import HOSTS, UID, USER
from fedproc.site.executors.image_root import OWN_PLACES
from fedproc.site.executors.runner.launch import staged
from fedproc.site.executors.runner.order import Order

BWRAP = "/usr/bin/bwrap"
TEMPORARY = "/tmp"  # noqa: S108 (the job's own)
PATH = "/fedproc/environment/bin:/usr/local/bin:/usr/bin:/bin"
_SYSTEM_LINKS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_GPU_COMMON = ("/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools")


@dataclass(frozen=True)
class Source:
    """A folder or file of the host that a job is shown. ``own``: the runner's, which no order named."""

    path: str
    writable: bool
    own: bool


@dataclass
class Sandbox:
    """One bwrap call: its arguments, and what they speak of."""

    staging: bool
    arguments: list[str] = field(default_factory=list)
    sources: list[Source] = field(default_factory=list)
    """by the index under which they are staged"""
    descriptors: list[int] = field(default_factory=list)
    """open files that the arguments name by number"""
    before: list[str] = field(default_factory=list)
    """what starts the command inside, if it is not bwrap itself"""

    def show(self, source: str, *, writable: bool, own: bool = False) -> str:
        """Where the sandbox finds ``source``. Raises FileNotFoundError if it is not there."""
        Path(source).stat()
        self.sources.append(Source(source, writable, own))
        return staged(len(self.sources) - 1) if self.staging else source

    def bind(self, source: str, target: str, *, writable: bool, own: bool = False) -> None:
        """Show ``source`` at ``target``. Raises as :meth:`show`."""
        shown = self.show(source, writable=writable, own=own)
        self.arguments += ["--bind" if writable else "--ro-bind", shown, target]

    def give(self, option: str, data: bytes, *more: str) -> None:
        """Give ``data`` to an option that reads it from a descriptor."""
        self.descriptors.append(_memory(data))
        self.arguments += [option, str(self.descriptors[-1]), *more]

    def command(self, command: list[str]) -> list[str]:
        """The whole command line. What is in the job's environment does not show in it."""
        self.descriptors.append(
            _memory(b"".join(text.encode(errors="surrogateescape") + b"\0" for text in self.arguments))
        )
        return [BWRAP, "--args", str(self.descriptors[-1]), "--", *self.before, *command]

    def close(self) -> None:
        """Close the descriptors; the child has its own."""
        for descriptor in self.descriptors:
            os.close(descriptor)


def sandbox_for(order: Order, *, etc: Path, staging: bool, seccomp: bytes, status: int) -> Sandbox:
    """The sandbox of one job. ``status`` is the descriptor on which bwrap reports what became of the command.

    Raises FileNotFoundError naming the folder that is not there, or OSError for an image that leads out of itself.
    """
    sandbox = Sandbox(staging)
    try:
        _isolate(sandbox, order, seccomp, status)
        if order.root:
            _image(sandbox, Path(order.root))
        else:
            _system(sandbox)
            sandbox.bind(str(etc), "/etc", writable=False, own=True)
        _scratch(sandbox, order.memory // 2)
        _devices(sandbox, order.devices, order.memory // 2)
        _names(sandbox, order.hosts)
        for source, target in order.mounts:
            sandbox.bind(source, target, writable=False)
        for source, target in order.writable:
            sandbox.bind(source, target, writable=True)
    except BaseException:
        sandbox.close()
        raise
    sandbox.arguments += ["--remount-ro", "/", "--chdir", order.directory]
    for name, value in variables_of(order).items():
        sandbox.arguments += ["--setenv", name, value]
    return sandbox


def variables_of(order: Order) -> dict[str, str]:
    """A job's variables, all of them."""
    own = {"PATH": PATH, "HOME": order.directory, "USER": USER, "LOGNAME": USER, "TMPDIR": TEMPORARY}
    return {**own, **order.environment}


def _isolate(sandbox: Sandbox, order: Order, seccomp: bytes, status: int) -> None:
    """Namespaces of its own, no capability, no way to get one, and an end when the runner ends."""
    sandbox.arguments += [
        "--unshare-all", "--unshare-user", "--disable-userns", "--die-with-parent", "--new-session", "--clearenv",
        "--cap-drop", "ALL", "--uid", str(UID), "--gid", str(UID), "--hostname", order.job,
        "--json-status-fd", str(status),
    ]  # fmt: skip
    sandbox.give("--seccomp", seccomp)


def _system(sandbox: Sandbox) -> None:
    sandbox.arguments += ["--ro-bind", "/usr", "/usr"]
    for name in _SYSTEM_LINKS:
        path = Path("/") / name
        if path.is_symlink():
            sandbox.arguments += ["--symlink", str(path.readlink()), str(path)]
        elif path.is_dir():
            sandbox.arguments += ["--ro-bind", str(path), str(path)]


def _image(sandbox: Sandbox, root: Path) -> None:
    """What is at the top of an image, one by one: so that nothing has to be made in it for what comes beside."""
    with os.scandir(root) as found:
        names = sorted(entry.name for entry in found)
    for name in names:
        if name not in OWN_PLACES:
            _show(sandbox, root / name, f"/{name}")
    if "fedproc" in names and os.path.lexists(own := _folder_itself(root / "fedproc") / ENVIRONMENT.name):
        _show(sandbox, own, str(ENVIRONMENT))


def _folder_itself(place: Path) -> Path:
    """A link here would be followed on the host. Raises OSError for one: what unpacks images refuses it, too."""
    if stat.S_ISLNK(place.lstat().st_mode):
        raise OSError(errno.ELOOP, "this folder of the image is a link, which is not supported", str(place))
    return place


def _show(sandbox: Sandbox, source: Path, target: str) -> None:
    if source.is_symlink():
        sandbox.arguments += ["--symlink", str(source.readlink()), target]
    else:
        sandbox.bind(str(source), target, writable=False)


def _scratch(sandbox: Sandbox, temporary: int) -> None:
    sandbox.arguments += ["--proc", "/proc", "--size", str(temporary), "--perms", "1777", "--tmpfs", TEMPORARY]


def _devices(sandbox: Sandbox, given: list[str], shared_memory: int) -> None:
    """A minimal /dev; of others only the given nodes and what the driver of GPUs needs for them."""
    sandbox.arguments += ["--dev", "/dev", "--size", str(shared_memory), "--perms", "1777", "--tmpfs", "/dev/shm"]  # noqa: S108
    for path in given:
        sandbox.arguments += ["--dev-bind", path, path]
    for path in _GPU_COMMON if given else ():
        sandbox.arguments += ["--dev-bind-try", path, path]
    sandbox.arguments += ["--remount-ro", "/dev"]


def _names(sandbox: Sandbox, hosts: list[list[str]]) -> None:
    """A hosts file of its own for a job that knows more than itself."""
    if hosts:
        known = HOSTS + "".join(f"{address} {name}\n" for address, name in hosts)
        sandbox.give("--ro-bind-data", known.encode(), "/etc/hosts")


def _memory(data: bytes) -> int:
    descriptor = os.memfd_create("fedproc")
    os.write(descriptor, data)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor

"""Which folders of the host orders may speak of: so that who may ask a runner that is root is not root by asking.

What an order names is opened step by step without following a link, and is used by its descriptor from then on: a name
that is changed meanwhile leads nowhere else.
"""

from __future__ import annotations

import os
import re
import stat
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from fedproc.site.executors.runner.order import Order

_STEP = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_DEVICE = re.compile(r"/dev/(nvidia|dri/)[A-Za-z0-9-]*")


class PathRefusedError(Exception):
    """An order names what this runner gives to no job."""


@dataclass(frozen=True)
class PathPolicy:
    """Folders below which jobs may read something (``readable``) or be given folders to write (``writable``).

    What lies above these folders must be root's alone. None: anything is allowed.
    """

    readable: Sequence[Path] | None = None
    writable: Sequence[Path] | None = None

    @classmethod
    def read(cls, path: Path) -> PathPolicy:
        """Those of a TOML file: the lists ``show`` and ``write``. Raises :class:`PathRefusedError` if it has none."""
        try:
            found = tomllib.loads(path.read_text("utf-8-sig"))
            return cls(tuple(map(Path, found["show"])), tuple(map(Path, found["write"])))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise PathRefusedError(f"{path} does not say what may be shown to jobs: {error!r}") from error

    def open_paths(self, order: Order) -> OpenPaths:
        """Check the order, and open what it writes.

        Raises :class:`PathRefusedError`, or OSError naming what is not there.
        """
        if self.readable is None:
            return OpenPaths(self, [source for source, _ in order.writable])
        _check_devices(order.devices)
        paths = OpenPaths(self)
        try:
            for source, _ in order.writable:
                paths.descriptors.append(self.open(source, writable=True))
                # With a dot behind, so that the folder is meant, not the link in /proc.
                paths.folders.append(f"/proc/self/fd/{paths.descriptors[-1]}/.")
            for source in [*(source for source, _ in order.mounts), *([order.root] if order.root else [])]:
                os.close(self.open(source, writable=False))
        except BaseException:
            paths.close()
            raise
        return paths

    def open(self, source: str, *, writable: bool) -> int:
        """A descriptor of what may be shown, in the mount namespace of who asks; else as :meth:`open_paths`."""
        roots = self.writable if writable else self.readable
        return os.open(source, os.O_PATH | os.O_CLOEXEC) if roots is None else _opened(source, roots)


@dataclass
class OpenPaths:
    """The folders that a job may write, kept open: ``folders`` are names of what was opened, and of nothing else."""

    policy: PathPolicy = field(default_factory=PathPolicy)
    folders: list[str] = field(default_factory=list)
    descriptors: list[int] = field(default_factory=list)

    def close(self) -> None:
        """Close them; may be repeated."""
        while self.descriptors:
            os.close(self.descriptors.pop())


def _check_devices(devices: Sequence[str]) -> None:
    for device in devices:
        if not _DEVICE.fullmatch(device):
            raise PathRefusedError(f"{device} is no device of a GPU")


def _opened(source: str, roots: Sequence[Path]) -> int:
    path = PurePosixPath(source)
    root = next((root for root in roots if path.is_relative_to(root)), None)
    if root is None or ".." in path.parts:
        raise PathRefusedError(f"{source} is in no folder that this runner may give to jobs (--bounds)")
    descriptor = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    for name in path.relative_to(root).parts:
        descriptor = _step(descriptor, name, source)
    return descriptor


def _step(descriptor: int, name: str, source: str) -> int:
    """What is called ``name`` in an open folder, which is closed. A link is not followed."""
    try:
        inner = os.open(name, _STEP, dir_fd=descriptor)
    except OSError as error:
        raise OSError(error.errno, error.strerror, source) from error
    finally:
        os.close(descriptor)
    if stat.S_ISLNK(os.fstat(inner).st_mode):
        os.close(inner)
        raise PathRefusedError(f"{source} leads over a link, which no job's folder does")
    return inner

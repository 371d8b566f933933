"""Packages that tools need, fetched by the hashes of their lock files for the Python of hosts, laid out as an index."""

from __future__ import annotations

import hashlib
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from fedproc.common.errors import SystemFaultError
from fedproc.contract.tool.tool import Manifest

_GLIBC = ("manylinux_2_28", "manylinux_2_17", "manylinux2014")
_SEPARATORS = re.compile(r"[-_.]+")


def project(wheel: str) -> str:
    """The normalised name of the project that a wheel is of (PEP 503, PEP 427)."""
    return _SEPARATORS.sub("-", wheel.partition("-")[0]).lower()


def lock_files(folder: Path, manifest: Manifest) -> list[Path]:
    """The requirements files of a tool that list something."""
    return [folder / name for name in sorted(manifest.requirements) if lists_something((folder / name).read_bytes())]


def lists_something(content: bytes) -> bool:
    """Whether a requirements file is more than comments."""
    lines = (line.strip() for line in content.splitlines())
    return any(line and not line.startswith(b"#") for line in lines)


def fetch_wheels(locks: Iterable[Path], pythons: Iterable[str], index: Path) -> int:
    """Fetch what the lock files name for these versions of Python (``3.13``) into ``index/PROJECT/FILE``.

    Returns how many files are new. Raises :class:`SystemFaultError` with pip's last words.
    """
    wanted = [(lock, python) for lock in locks for python in pythons]
    return sum(_fetch(lock, python, index) for lock, python in wanted)


def _fetch(lock: Path, python: str, index: Path) -> int:
    index.mkdir(parents=True, exist_ok=True)
    key = hashlib.sha256(lock.read_bytes() + python.encode()).hexdigest()
    done = index.with_name(f"{index.name}.done") / key
    if done.exists():
        return 0
    with tempfile.TemporaryDirectory(dir=index, prefix=".wheels-") as folder:
        _download(lock, python, Path(folder))
        new = [_move(wheel, index) for wheel in sorted(Path(folder).iterdir())]
    done.parent.mkdir(exist_ok=True)
    done.touch()
    return sum(new)


def _move(wheel: Path, index: Path) -> bool:
    place = index / project(wheel.name) / wheel.name
    if place.exists():
        return False
    place.parent.mkdir(exist_ok=True)
    wheel.chmod(0o644)
    wheel.rename(place)
    return True


def _download(lock: Path, python: str, folder: Path) -> None:
    machine = platform.machine()
    platforms = [word for libc in _GLIBC for word in ("--platform", f"{libc}_{machine}")]
    command = [
        sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input", "--no-deps",
        "--require-hashes", "--only-binary", ":all:", "--implementation", "cp", "--python-version", python, *platforms,
        "--dest", str(folder), "-r", str(lock),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        output = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise SystemFaultError(f"packages of {lock} for Python {python} cannot be fetched: {' / '.join(output[-4:])}")

"""Filesystems and the drives below them: of the operating system, of the platform's own folder, of the datasets."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fedproc.onboarding.model.facts import DataFacts, Disk, DiskFacts
from fedproc.onboarding.probes import files

BLOCK = Path("/sys/class/block")
NUMBERS = Path("/sys/dev/block")
SECTOR = 512
VIRTUAL = ("vd", "xvd", "zram", "nbd", "rbd", "ram")


@dataclass(frozen=True)
class Mount:
    point: str
    kind: str
    source: str


def probe(work: Path, data: Path | None, dataset_bytes: int | None, *, seconds: float) -> DiskFacts:
    """``seconds`` bounds the counting of what lies in ``data``. Raises :class:`OSError` with the path in it."""
    return DiskFacts(
        system=disk(Path("/")),
        work=disk(work),
        data=_data(data, seconds) if data and data.is_dir() else None,
        data_reason=f"there is no folder {data}" if data and not data.is_dir() else "",
        dataset_bytes=dataset_bytes,
    )


def disk(path: Path) -> Disk:
    """The filesystem of ``path`` or, where that does not exist yet, of its nearest parent."""
    folder = next(p for p in (path.absolute(), *path.absolute().parents) if p.exists())
    usage = os.statvfs(folder)
    mount = _mount(folder)
    drive, ssd, reason = _drive(folder, mount)
    return Disk(
        path=str(path),
        mount=mount.point,
        device=f"{mount.source} ({mount.kind})",
        total_bytes=usage.f_blocks * usage.f_frsize,
        free_bytes=usage.f_bavail * usage.f_frsize,
        total_inodes=usage.f_files,
        free_inodes=usage.f_favail,
        read_only=bool(usage.f_flag & os.ST_RDONLY),
        drive_bytes=drive,
        ssd=ssd,
        drive_reason=reason,
    )


def _data(folder: Path, seconds: float) -> DataFacts:
    used, complete = count(folder, time.monotonic() + seconds)
    return DataFacts(disk(folder), used, complete)


def count(folder: Path, deadline: float) -> tuple[int, bool]:
    """Bytes that the regular files below ``folder`` take on its filesystem, and whether all could be counted."""
    total, complete = 0, True
    folders = [folder]
    device = folder.stat().st_dev
    while folders:
        if time.monotonic() > deadline:
            return total, False
        try:
            entries = list(_entries(folders.pop()))
        except PermissionError:
            complete = False
            continue
        total += sum(s.st_blocks * SECTOR for _, s in entries if stat.S_ISREG(s.st_mode))
        folders += [p for p, s in entries if stat.S_ISDIR(s.st_mode) and s.st_dev == device]
    return total, complete


def _entries(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            yield Path(entry.path), entry.stat(follow_symlinks=False)


def _mount(folder: Path) -> Mount:
    """The mount whose point is the longest prefix of ``folder`` (proc(5), mountinfo)."""
    real = folder.resolve()
    best = Mount("/", "unknown", "unknown")
    for line in (files.text(Path("/proc/self/mountinfo")) or "").splitlines():
        left, _, right = line.partition(" - ")
        point = _unescape(left.split()[4])
        if real.is_relative_to(point) and len(point) >= len(best.point):
            kind, source, *_ = right.split(" ")
            best = Mount(point, kind, _unescape(source))
    return best


def _unescape(text: str) -> str:
    for code, letter in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, letter)
    return text


def _drive(folder: Path, mount: Mount) -> tuple[int | None, bool | None, str]:
    """Size of the whole drive, whether it is solid state, and why not, where that cannot be told."""
    block = _block(folder, mount)
    if block is None:
        return None, None, f"the drive below {mount.point} ({mount.kind}) is not visible from here"
    drives = sorted(_whole_drives(block.resolve()), key=lambda d: d.name)
    sizes = [files.number(d / "size") or 0 for d in drives]
    return sum(sizes) * SECTOR or None, *_solid_state(drives)


def _block(folder: Path, mount: Mount) -> Path | None:
    device = folder.stat().st_dev
    candidates = (NUMBERS / f"{os.major(device)}:{os.minor(device)}", BLOCK / Path(mount.source).resolve().name)
    return next((c for c in candidates if (c / "size").exists()), None)


def _whole_drives(block: Path) -> set[Path]:
    """Down through RAID, LVM and encryption to the drives, and from a partition up to its drive."""
    below = [child.resolve() for child in (block / "slaves").glob("*")]
    if below:
        return set().union(*(_whole_drives(child) for child in below))
    return {block.parent if (block / "partition").exists() else block}


def _solid_state(drives: list[Path]) -> tuple[bool | None, str]:
    names = ", ".join(d.name for d in drives)
    if any(d.name.startswith(VIRTUAL) for d in drives):
        return None, f"{names} is a virtual drive: only who runs the hypervisor knows what is below it"
    turning = {files.number(d / "queue/rotational") for d in drives}
    if None in turning:
        return None, f"the kernel does not say what kind of drive {names} is"
    return turning == {0}, ""

"""Limits that control groups (v1 and v2) put on this process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fedproc.onboarding.probes import files

MEMBERSHIP = Path("/proc/self/cgroup")
ROOT = Path("/sys/fs/cgroup")


def cpu_quota() -> float | None:
    """CPUs that the tightest group above this process may use, or ``None`` where there is no quota."""
    quotas = [q for folder in _groups("cpu") if (q := _quota(folder)) is not None]
    return min(quotas, default=None)


def memory_limit() -> int | None:
    """Bytes that the tightest group above this process may use, or ``None`` where there is no limit."""
    limits = [
        limit
        for folder in _groups("memory")
        for name in ("memory.max", "memory.limit_in_bytes")
        if (limit := files.number(folder / name)) is not None
    ]
    return min(limits, default=None)


def controllers(root: Path = ROOT) -> tuple[str, tuple[str, ...]]:
    """The cgroup version in use and those of cpu, memory and pids that it has."""
    wanted = ("cpu", "memory", "pids")
    unified = (files.text(root / "cgroup.controllers") or "").split()
    if unified:
        return "v2", tuple(c for c in wanted if c in unified)
    return "v1", tuple(c for c in wanted if (root / c / "cgroup.procs").exists())


def _groups(controller: str) -> Iterator[Path]:
    """This process's group of a controller and all groups above it."""
    for line in (files.text(MEMBERSHIP) or "").splitlines():
        _, names, path = line.split(":", 2)
        if names and controller not in names.split(","):
            continue
        root = ROOT / names if names else ROOT
        folder = root / path.lstrip("/")
        yield from (f for f in (folder, *folder.parents) if f.is_relative_to(root))


def _quota(folder: Path) -> float | None:
    if unified := files.text(folder / "cpu.max"):
        quota, _, period = unified.partition(" ")
        return None if quota == "max" else int(quota) / int(period)
    legacy, period_us = files.number(folder / "cpu.cfs_quota_us"), files.number(folder / "cpu.cfs_period_us")
    return legacy / period_us if legacy and period_us and legacy > 0 else None

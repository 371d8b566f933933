"""What this job may use of the machine: told, but for GPUs, of which the task asks for none."""

from __future__ import annotations

import os
import platform
import resource
from collections.abc import Iterator
from pathlib import Path

from findings import Check, Finding, Job, listed, told

CGROUP_LIMITS = (
    "memory.max", "cpu.max", "pids.max",
    "memory/memory.limit_in_bytes", "cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us", "pids/pids.max",
)  # fmt: skip
"""Version 2, then version 1."""


def software(_: Job) -> Iterator[Finding]:
    yield told("python", platform.python_version())
    yield told("kernel", platform.release())


def processors_and_memory(_: Job) -> Iterator[Finding]:
    yield told("cpus", f"{os.cpu_count()} in the machine, {len(os.sched_getaffinity(0))} usable")
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    yield told("memory", f"{total // 10**6} MB in the machine")


def limits(_: Job) -> Iterator[Finding]:
    named = sorted(name for name in dir(resource) if name.startswith("RLIMIT_"))
    values = [(name[7:].lower(), resource.getrlimit(getattr(resource, name))[0]) for name in named]
    yield told("rlimits", listed((f"{name} {value}" for name, value in values if value >= 0), "all unlimited"))
    yield told("cgroup", listed(Path("/proc/self/cgroup").read_text().split(), "none"))
    files = [(name, Path("/sys/fs/cgroup") / name) for name in CGROUP_LIMITS]
    seen = [f"{name} {path.read_text().strip()}" for name, path in files if os.access(path, os.R_OK)]
    yield told("cgroup_limits", listed(seen, "not visible from here"))


def gpus(_: Job) -> Iterator[Finding]:
    kinds = ("nvidia*", "dri/*", "kfd", "accel/*")
    found = sorted(str(path.relative_to("/dev")) for kind in kinds for path in Path("/dev").glob(kind))
    yield Finding("gpus", "none, as none was asked for", listed(found), not found)


CHECKS: tuple[Check, ...] = (software, processors_and_memory, limits, gpus)

"""Processors: what the kernel lists, and how much of it this program may use."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

from fedproc.onboarding.model.facts import CpuFacts
from fedproc.onboarding.probes import cgroup, files

CPUS = Path("/sys/devices/system/cpu")
CPUINFO = Path("/proc/cpuinfo")


def probe(cpus: Path = CPUS, cpuinfo: Path = CPUINFO) -> CpuFacts:
    """Raises :class:`OSError` where ``/proc/cpuinfo`` cannot be read."""
    info = cpuinfo.read_text(errors="replace")
    threads = _online(cpus) or info.count("\nprocessor") + info.startswith("processor")
    clock, source = _clock(cpus, info)
    return CpuFacts(
        model=_field(info, "model name") or "unknown model",
        architecture=platform.machine(),
        sockets=_distinct(cpus, "physical_package_id"),
        cores=_cores(cpus),
        threads=threads,
        usable_threads=_usable(threads),
        clock_ghz=clock,
        clock_source=source,
    )


def ranges(text: str) -> int:
    """How many CPUs a kernel list like ``0-3,8`` names."""
    total = 0
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        total += int(last or first) - int(first) + 1
    return total


def _online(cpus: Path) -> int:
    return ranges(files.text(cpus / "online") or "")


def _cores(cpus: Path) -> int | None:
    """Physical cores: each is one distinct set of thread siblings."""
    return _distinct(cpus, "core_cpus_list") or _distinct(cpus, "thread_siblings_list")


def _distinct(cpus: Path, name: str) -> int | None:
    values = {files.text(path) for path in cpus.glob(f"cpu[0-9]*/topology/{name}")}
    return len(values - {None}) or None


def _usable(threads: int) -> int:
    usable = min(threads, len(os.sched_getaffinity(0)))
    quota = cgroup.cpu_quota()
    return usable if quota is None else max(1, min(usable, int(quota)))


def _clock(cpus: Path, info: str) -> tuple[float | None, str]:
    """The nominal clock in GHz. The momentary one in /proc/cpuinfo says nothing of what the processor is built for."""
    base = files.number(cpus / "cpu0/cpufreq/base_frequency")
    if base:
        return base / 1e6, "base frequency that the kernel reports"
    if stated := re.search(r"@ ?([0-9.]+) ?GHz", _field(info, "model name") or ""):
        return float(stated[1]), "stated in the model's name"
    top = files.number(cpus / "cpu0/cpufreq/cpuinfo_max_freq")
    reason = "neither the kernel nor the model's name states the nominal clock"
    return None, f"{reason} (highest: {top / 1e6:.1f} GHz)" if top else reason


def _field(info: str, name: str) -> str | None:
    found = re.search(rf"^{name}\s*: (.*)$", info, re.MULTILINE)
    return found[1].strip() if found else None

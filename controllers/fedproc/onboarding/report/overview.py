"""The machine in a few labelled sentences: what was measured, whether or not a profile asks for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from fedproc.onboarding.model import formatting
from fedproc.onboarding.model.facts import (
    CpuFacts,
    DiskFacts,
    EngineFacts,
    Facts,
    GpuFacts,
    MemoryFacts,
    SystemFacts,
    Unknown,
)
from fedproc.onboarding.model.report import Report, Verdict
from fedproc.onboarding.rules import disk, gpu, system


def rows(facts: Facts) -> list[tuple[str, str]]:
    """Label and text of everything that was measured; what could not be measured says why."""
    parts: tuple[tuple[str, Any, Callable[[Any], str]], ...] = (
        ("GPUs", facts.gpu, gpus),
        ("Processors", facts.cpu, processors),
        ("Memory", facts.memory, memory),
        ("Disks", facts.disk, disks),
        ("System", facts.os, operating_system),
        ("Containers", facts.container, engines),
    )
    return [(label, _text(found, describe)) for label, found, describe in parts if found is not None]


def _text(found: Any, describe: Callable[[Any], str]) -> str:
    return f"could not tell: {found.unknown}" if isinstance(found, Unknown) else describe(found)


def gpus(found: GpuFacts) -> str:
    """All GPUs and their driver."""
    if not found.gpus:
        return "; ".join(filter(None, ("none that can be used", found.reason, ", ".join(found.cards))))
    driver = f"driver {found.driver or 'not known'}, CUDA up to {found.cuda or 'not known'}"
    return "; ".join([*map(gpu.describe, found.gpus), driver])


def processors(found: CpuFacts) -> str:
    """Model, cores and threads."""
    return f"{found.model}: {found.cores or '?'} cores, {found.threads} threads ({found.usable_threads} usable)"


def memory(found: MemoryFacts) -> str:
    """Total and available memory."""
    return f"{formatting.gib(found.total_bytes)}, {formatting.gib(found.available_bytes)} available"


def disks(found: DiskFacts) -> str:
    """The filesystems that were measured, each once."""
    measured = [found.system, found.work, *([found.data.disk] if found.data else [])]
    return "; ".join(disk.describe(d) for d in {d.mount: d for d in measured}.values())


def operating_system(found: SystemFacts) -> str:
    """Distribution and kernel."""
    virtual = ", a virtual machine" if found.virtual else ""
    return f"{found.name}, Linux {found.kernel} on {found.machine}, Python {found.python}{virtual}"


def engines(found: EngineFacts) -> str:
    """All container engines."""
    return "; ".join(map(system.describe, found.engines)) or "none installed"


def conclusion(report: Report) -> str:
    """The whole report in one sentence."""
    profile = f"profile {report.profile.id}"
    if report.only:
        profile += f" (only {', '.join(report.only)})"
    if report.exit_code == 0:
        return f"This host meets all that {profile} requires and recommends."
    if report.exit_code == 1:
        return f"This host meets all that {profile} requires; recommendations missed: {len(list(_missed(report)))}."
    required = [line.verdict for line in report.lines if line.required]
    fails, unknown = required.count(Verdict.FAILS), required.count(Verdict.UNKNOWN)
    return f"This host does not meet {profile} yet: requirements that fail: {fails}, that could not be told: {unknown}."


def _missed(report: Report) -> Iterator[str]:
    return (line.id for line in report.lines if line.verdict is not Verdict.RECOMMENDED)

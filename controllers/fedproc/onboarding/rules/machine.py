"""Processors and main memory."""

from __future__ import annotations

from typing import Any

from fedproc.onboarding.model import formatting
from fedproc.onboarding.model.facts import CpuFacts, Facts, MemoryFacts, Unknown
from fedproc.onboarding.model.report import Line
from fedproc.onboarding.rules.common import Check, Finding, Requirement, asks, line, nominal, unknown

PROC_CURE = "run the check on the host itself, where /proc and /sys can be read"
BOARD_CURE = "run the check as root on the machine itself; for a virtual machine ask who runs the hypervisor"


def cores(requirement: Requirement, facts: Facts) -> list[Line]:
    """Cores, threads and clock; each threshold is a list of alternatives of which one must be met."""
    text = "CPU: " + asks(requirement, _alternatives)
    found = facts.cpu
    if found is None or isinstance(found, Unknown):
        reason = found.unknown if found else "processors were not measured"
        return [unknown("cpu.cores", requirement, text, reason, PROC_CURE)]
    cure = "use a machine with more or faster processors, or give this virtual machine more"
    finding = Finding(_cpu_text(found), lambda choices: _any_of(found, choices), cure)
    return [line("cpu.cores", requirement, text, finding)]


def _alternatives(choices: list[dict[str, float]]) -> str:
    units = {"cores": "cores", "threads": "threads", "ghz": "GHz"}
    return " or ".join(
        " / ".join(f"{formatting.number(v)} {units[k]}" for k, v in choice.items()) for choice in choices
    )


def _cpu_text(cpu: CpuFacts) -> str:
    clock = f"{cpu.clock_ghz:.1f} GHz ({cpu.clock_source})" if cpu.clock_ghz else f"clock not known: {cpu.clock_source}"
    cut = ""
    if cpu.usable_threads < cpu.threads:
        cut = f", of which this program may use {cpu.usable_threads} (affinity or cgroup quota)"
    count = f"{cpu.cores} cores" if cpu.cores else "an unknown number of cores"
    return f"{count}, {cpu.threads} threads{cut}; {clock}; {cpu.model}, {cpu.architecture}"


def _any_of(cpu: CpuFacts, choices: list[dict[str, float]]) -> bool | None:
    results = [_all_of(cpu, choice) for choice in choices]
    return True if True in results else None if None in results else False


def _all_of(cpu: CpuFacts, choice: dict[str, float]) -> bool | None:
    cores = None if cpu.cores is None else min(cpu.cores, cpu.usable_threads)
    usable = {"cores": cores, "threads": cpu.usable_threads, "ghz": cpu.clock_ghz}
    results = [None if (value := usable[key]) is None else value >= least for key, least in choice.items()]
    return False if False in results else None if None in results else True


def size(requirement: Requirement, facts: Facts) -> list[Line]:
    """Main memory in nominal GB: what firmware and kernel keep for themselves is within the tolerance."""
    tolerance = requirement.tolerance
    text = f"RAM: {nominal(requirement)}"
    found = facts.memory
    if found is None or isinstance(found, Unknown):
        return [_memory_unknown("memory.size", requirement, text, found)]
    usable = found.limit_bytes or found.total_bytes
    cut = f", of which this program may use {formatting.gib(usable)} (cgroup limit)" if found.limit_bytes else ""
    measured = f"{formatting.gib(found.total_bytes)}{cut}"
    cure = "add memory, or give this virtual machine more"
    finding = Finding(measured, lambda n: formatting.reaches(usable, n, formatting.GIB, tolerance), cure)
    return [line("memory.size", requirement, text, finding)]


def ecc(requirement: Requirement, facts: Facts) -> list[Line]:
    """Whether the memory corrects errors."""
    text = "memory with error correction (ECC)" + ("" if requirement.minimum else " (recommended)")
    return [_board("memory.ecc", requirement, text, facts, "ecc", lambda mine, asked: mine is asked)]


def slots(requirement: Requirement, facts: Facts) -> list[Line]:
    """Memory slots of the main board."""
    text = "memory slots: " + asks(requirement, lambda n: f"at least {formatting.number(n)}")
    return [_board("memory.slots", requirement, text, facts, "slots", lambda mine, asked: mine >= asked)]


def _board(check: str, requirement: Requirement, text: str, facts: Facts, name: str, compare: Any) -> Line:
    found = facts.memory
    if found is None or isinstance(found, Unknown):
        return _memory_unknown(check, requirement, text, found)
    value = getattr(found, name)
    if value is None:
        return unknown(check, requirement, text, found.board_reason, BOARD_CURE)
    measured = ("yes" if value else "no") if isinstance(value, bool) else str(value)
    return line(check, requirement, text, Finding(measured, lambda asked: compare(value, asked), "use a server board"))


def _memory_unknown(check: str, requirement: Requirement, text: str, found: MemoryFacts | Unknown | None) -> Line:
    reason = found.unknown if isinstance(found, Unknown) else "memory was not measured"
    return unknown(check, requirement, text, reason, PROC_CURE)


CHECKS = (
    Check("cpu.cores", "cpu", cores),
    Check("memory.size", "number", size),
    Check("memory.ecc", "flag", ecc),
    Check("memory.slots", "number", slots),
)

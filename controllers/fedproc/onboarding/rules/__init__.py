"""All checks that a profile can ask for."""

from __future__ import annotations

from fedproc.onboarding.model.facts import Facts
from fedproc.onboarding.model.report import Line
from fedproc.onboarding.rules import credentials, disk, gpu, machine, network, system
from fedproc.onboarding.rules.common import Check, Requirement

CHECKS: dict[str, Check] = {
    check.id: check
    for check in (
        *gpu.CHECKS,
        *machine.CHECKS,
        *disk.CHECKS,
        *system.CHECKS,
        *network.CHECKS,
        *credentials.CHECKS,
    )
}
TOPICS = tuple(dict.fromkeys(check.topic for check in CHECKS.values()))


def evaluate(requirements: tuple[Requirement, ...], facts: Facts, topics: tuple[str, ...]) -> tuple[Line, ...]:
    """The lines of all requirements of these topics, in the profile's order."""
    asked = (r for r in requirements if CHECKS[r.check].topic in topics)
    return tuple(line for r in asked for line in CHECKS[r.check].rule(r, facts))


__all__ = ["CHECKS", "TOPICS", "Requirement", "evaluate"]

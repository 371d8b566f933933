"""What all rules share. A rule is a pure function from a requirement and the facts to lines of the report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fedproc.onboarding.model import formatting
from fedproc.onboarding.model.facts import Facts
from fedproc.onboarding.model.report import Line, Verdict


@dataclass(frozen=True)
class Requirement:
    """One requirement of a profile; the form of ``minimum`` and ``recommended`` is the check's ``kind``.

    ``tolerance`` is in percent of a nominal size.
    """

    check: str
    source: str
    minimum: Any = None
    recommended: Any = None
    tolerance: int = 0


@dataclass(frozen=True)
class Check:
    """Something that can be required. ``kind`` names the form of its thresholds (``profile.py`` has them)."""

    id: str
    kind: str
    rule: Callable[[Requirement, Facts], list[Line]]

    @property
    def topic(self) -> str:
        return self.id.partition(".")[0]


@dataclass(frozen=True)
class Finding:
    """What was found: ``meets`` says of a threshold true, false, or ``None`` if it could not be told."""

    measured: str
    meets: Callable[[Any], bool | None]
    cure: str = ""


def line(check: str, requirement: Requirement, text: str, finding: Finding) -> Line:
    """The verdict on a finding."""
    verdict = grade(requirement, finding.meets)
    cure = "" if verdict is Verdict.RECOMMENDED else finding.cure
    required = requirement.minimum is not None
    return Line(check, check.partition(".")[0], text, requirement.source, finding.measured, verdict, cure, required)


def grade(requirement: Requirement, meets: Callable[[Any], bool | None]) -> Verdict:
    """``RECOMMENDED`` also where the source asks a minimum only and it is met."""
    if requirement.minimum is not None and (minimum := meets(requirement.minimum)) is not True:
        return Verdict.UNKNOWN if minimum is None else Verdict.FAILS
    if requirement.recommended is None or (recommended := meets(requirement.recommended)):
        return Verdict.RECOMMENDED
    if requirement.minimum is None and recommended is None:
        return Verdict.UNKNOWN
    return Verdict.MINIMUM


def unknown(check: str, requirement: Requirement, text: str, reason: str, cure: str) -> Line:
    """A line for what could not be measured."""
    return line(check, requirement, text, Finding(reason, lambda threshold: None, cure))


def nominal(requirement: Requirement) -> str:
    """``at least X GB`` of a nominal size, with its tolerance stated."""
    phrase = asks(requirement, lambda size: f"at least {formatting.number(size)} GB")
    return f"{phrase} (nominal: up to {requirement.tolerance}% less is accepted)"


def asks(requirement: Requirement, phrase: Callable[[Any], str]) -> str:
    """``at least X; recommended Y``, of what there is."""
    parts = [] if requirement.minimum is None else [phrase(requirement.minimum)]
    if requirement.recommended is not None:
        parts.append(f"recommended: {phrase(requirement.recommended)}")
    return "; ".join(parts)

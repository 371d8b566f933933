"""A check's result: one line per requirement, the facts behind them, and what follows from all of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from fedproc.onboarding.model.codec import decode, encode
from fedproc.onboarding.model.facts import Facts

FORMAT = 1
ALL_MET, RECOMMENDATIONS_MISSED, NOT_MET = 0, 1, 2


class Verdict(StrEnum):
    """``RECOMMENDED``: all that the source asks, and recommends if it recommends anything."""

    RECOMMENDED = "meets-recommended"
    MINIMUM = "meets-minimum"
    FAILS = "fails"
    UNKNOWN = "could-not-tell"

    @property
    def label(self) -> str:
        return self.value.replace("-", " ")


EXIT_CODES = {
    Verdict.RECOMMENDED: ALL_MET,
    Verdict.MINIMUM: RECOMMENDATIONS_MISSED,
    Verdict.FAILS: NOT_MET,
    Verdict.UNKNOWN: NOT_MET,
}


@dataclass(frozen=True)
class Line:
    """One requirement. ``required`` is false where the source only recommends; ``fault`` is a code for programs."""

    id: str
    topic: str
    requirement: str
    source: str
    measured: str
    verdict: Verdict
    cure: str = ""
    required: bool = True
    fault: str | None = None


@dataclass(frozen=True)
class ProfileStamp:
    """Which profile was applied; ``sha256`` is of its requirements as they were in force."""

    id: str
    title: str
    sha256: str


@dataclass(frozen=True)
class Report:
    """``time`` is the start, UTC; ``seconds`` how long it took; ``only`` the topics asked for, none for all."""

    program: str
    host: str
    time: str
    seconds: float
    profile: ProfileStamp
    only: tuple[str, ...]
    lines: tuple[Line, ...]
    facts: Facts

    @property
    def verdict(self) -> Verdict:
        """On the host as a whole: a requirement that fails counts more than one that could not be told."""
        required = {line.verdict for line in self.lines if line.required}
        for worst in (Verdict.FAILS, Verdict.UNKNOWN):
            if worst in required:
                return worst
        met = all(line.verdict is Verdict.RECOMMENDED for line in self.lines)
        return Verdict.RECOMMENDED if met else Verdict.MINIMUM

    @property
    def exit_code(self) -> int:
        """0: all met. 1: only recommendations missed. 2: a requirement fails or could not be told."""
        return EXIT_CODES[self.verdict]


def to_json(report: Report) -> dict[str, Any]:
    """The stable form: keys are only ever added while ``format`` stays the same."""
    return {"format": FORMAT, **encode(report), "exit_code": report.exit_code}


def from_json(data: Any) -> Report:
    """A report from anywhere. Raises :class:`ValueError` that says what is wrong with it."""
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        found = data.get("format") if isinstance(data, dict) else type(data).__name__
        raise ValueError(f"not a host report of format {FORMAT} (found {str(found)[:40]})")
    return decode(Report, data)

"""What a rule finds, and what follows from all of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from fedproc.site.policy.engine.disclosure_rules import Rule


class Result(StrEnum):
    """What a rule says of an output; that it passes is no finding."""

    passed = "pass"
    review = "review"
    refuse = "refuse"


@dataclass(frozen=True)
class Finding:
    """Something about an output that keeps it from leaving by itself. For the host's log and its people alone."""

    output: str
    rule: Rule
    result: Result
    text: str
    """names what was declared; no value, and no word that the tool chose while it ran"""

    def as_fields(self) -> dict[str, Any]:
        """As a log line has it."""
        rule = self.rule
        return {
            "rule": rule.id, "version": rule.version, "source": rule.source, "threshold": rule.threshold,
            "result": str(self.result), "found": self.text,
        }  # fmt: skip


def verdict(findings: Iterable[Finding]) -> Result:
    """The strictest of all: refuse before review before pass."""
    results = {finding.result for finding in findings}
    return next((result for result in (Result.refuse, Result.review) if result in results), Result.passed)

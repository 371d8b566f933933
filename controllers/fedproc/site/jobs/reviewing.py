"""What the journal keeps of a job whose outputs wait for a person, and what follows from it.

Nothing here writes: who changes a :class:`Review` journals it (:mod:`fedproc.site.jobs.review`).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

from fedproc.site.policy.review import ReviewRule, concluded

WAITING, REMINDER = "waiting", "reminder"
"""what a site is told of a job"""


class Decision(BaseModel):
    """What the site decided about releasing a job's outputs, and about which bytes."""

    model_config = ConfigDict(frozen=True)

    release: bool
    reason: str
    hashes: dict[str, str]
    """sealed path: sha256 of what may leave; of all, where nothing may"""
    withheld: dict[str, str] = {}
    """the same of what stays, where a part may leave. A release of before finds that ``hashes`` are not all, and
    sends nothing"""
    reviewers: tuple[str, ...] = ()
    at: datetime | None = None

    @property
    def is_of_part(self) -> bool:
        return self.release and bool(self.withheld)


class Opinion(BaseModel):
    """What one person said about some files."""

    model_config = ConfigDict(frozen=True)

    reviewer: str
    """the local account"""
    at: datetime
    release: bool
    files: dict[str, str]
    """sealed path: sha256 that the person looked at"""
    reason: str
    noted: bool = False
    """the transparency log has it"""


class Review(BaseModel):
    """Mutable, as the record that holds it."""

    model_config = ConfigDict(extra="ignore")

    since: datetime
    """by the centre's clock; of one that was not known then, by the host's, and again when it is"""
    since_is_sure: bool = True
    asked: dict[str, int] = {}
    """by sealed path, how many persons decide"""
    classes: dict[str, str] = {}
    """by output, its disclosure class"""
    found: list[dict[str, Any]] = []
    """what rules and policy have against it: output, rule, version, source, threshold, result, found"""
    strangers: list[str] = []
    """names of those who may not decide: the tool's authors, and who asked for it"""
    opinions: list[Opinion] = []
    notified: dict[str, list[str]] = {}
    """by channel, of what the site was told"""
    reminded: bool = False
    expired: bool = False

    def kept(self) -> list[str]:
        """The outputs that no person may let out."""
        return sorted({str(each["output"]) for each in self.found if each["result"] == "refuse"})

    def votes(self) -> dict[str, list[bool]]:
        """By file, each person's word once, in the order in which they came."""
        found: dict[str, list[bool]] = {}
        for opinion in self.opinions:
            for path in opinion.files:
                found.setdefault(path, []).append(opinion.release)
        return found

    def words_of(self, reviewer: str) -> dict[str, bool]:
        """By file, what this person said."""
        return {
            path: opinion.release for opinion in self.opinions if opinion.reviewer == reviewer for path in opinion.files
        }

    def outcome(self, rule: ReviewRule) -> dict[str, bool | None]:
        """By file, what was decided; None while a word is missing."""
        votes = self.votes()
        return {path: concluded(votes.get(path, []), needed, rule.disagreement) for path, needed in self.asked.items()}

    def decision(self, rule: ReviewRule, sealed: dict[str, str], at: datetime) -> Decision | None:
        """What follows for all ``sealed`` files once every file that was asked about is decided."""
        outcome = self.outcome(rule)
        if self.expired or not outcome or None in outcome.values():
            return None
        leaving = {path: sealed[path] for path, released in outcome.items() if released}
        return Decision(
            release=bool(leaving),
            reason="; ".join(dict.fromkeys(each.reason for each in self.opinions if each.reason)),
            hashes=leaving or sealed,
            withheld={path: digest for path, digest in sealed.items() if path not in leaving} if leaving else {},
            reviewers=tuple(dict.fromkeys(each.reviewer for each in self.opinions)),
            at=at,
        )

    def flagged(self, paths: Iterable[str]) -> bool:
        """Whether a rule, not the policy alone, has something against one of these files."""
        outputs = {path.partition("/")[0] for path in paths}
        return any(each["output"] in outputs and each["rule"] not in _OF_POLICY for each in self.found)


_OF_POLICY = ("policy.release", "policy.sample")

"""What the journal keeps of a job whose outputs wait for a person, and what follows from it.

Nothing here writes: who changes a :class:`Review` journals it (:mod:`fedproc.site.jobs.release.review`).
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict

from fedproc.site.policy.engine.findings import Finding, Result
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
    listed: bool = True
    """by an account of the group of reviewers; who is not of it is no second person"""


class Review(BaseModel):
    """Mutable, as the record that holds it."""

    model_config = ConfigDict(extra="ignore")

    since: datetime
    """by the centre's clock; of one that was not known then, by the host's, and again when it is. Moved by the time
    that does not count"""
    since_is_sure: bool = True
    doubted: datetime | None = None
    """by the centre's clock, since when the host's differs much from it, so that no time passes"""
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

    def votes(self, rule: ReviewRule) -> dict[str, list[bool]]:
        """By file, each person's first word, by whichever account, in the order in which they came. Where several
        decide, who is not listed is not counted."""
        found: dict[str, list[bool]] = {}
        spoken: dict[str, list[str]] = {}
        for opinion in self.opinions:
            for path in opinion.files:
                before = spoken.setdefault(path, [])
                counts = opinion.listed or self.asked.get(path, 1) == 1
                if counts and not any(rule.is_same(opinion.reviewer, each) for each in before):
                    before.append(opinion.reviewer)
                    found.setdefault(path, []).append(opinion.release)
        return found

    def words_of(self, reviewer: str, rule: ReviewRule) -> dict[str, bool]:
        """By file, what the person of this account said first, by whichever account."""
        own = [each for each in self.opinions if rule.is_same(each.reviewer, reviewer)]
        return {path: opinion.release for opinion in reversed(own) for path in opinion.files}

    def persons(self, rule: ReviewRule) -> int:
        """How many have said something."""
        found: list[str] = []
        for each in self.opinions:
            if not any(rule.is_same(each.reviewer, other) for other in found):
                found.append(each.reviewer)
        return len(found)

    def outcome(self, rule: ReviewRule) -> dict[str, bool | None]:
        """By file, what was decided; None while a word is missing."""
        votes = self.votes(rule)
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
_MOST_FINDINGS = 50


def first_of_each(found: Iterable[Finding]) -> Iterator[Finding]:
    """Of each output as many as a person reads, what refuses it and what rules have against it first; and how many
    more there are."""
    outputs: dict[str, list[Finding]] = defaultdict(list)
    for each in found:
        outputs[each.output].append(each)
    for of in outputs.values():
        of.sort(key=lambda each: (each.result is not Result.refuse, each.rule.id in _OF_POLICY))
        yield from of[:_MOST_FINDINGS]
        if rest := of[_MOST_FINDINGS:]:
            yield replace(rest[0], text=f"this, and {len(rest) - 1} more that rules found: {rest[0].text}")


class CentreClock(Protocol):
    """:class:`fedproc.site.centre.identity.Clock`, as far as a wait needs it."""

    compared: bool

    @property
    def trusted(self) -> bool: ...

    def now(self) -> datetime: ...


class WaitClock:
    """Moves the beginning of a wait by the time that does not count: while the centre's clock is not known, as this
    program measures it; while the host's differs much, by the centre's clock, also over a restart."""

    def __init__(self) -> None:
        self._unknown: float | None = None

    def advance(self, review: Review, clock: CentreClock) -> bool:
        """Whether this changed the review."""
        before = review.since, review.since_is_sure, review.doubted
        if not clock.compared:
            self._unknown = self._unknown if self._unknown is not None else _boot_seconds()
        elif not clock.trusted:
            review.doubted = review.doubted or clock.now()
        else:
            self._count_again(review, clock.now())
        return before != (review.since, review.since_is_sure, review.doubted)

    def _count_again(self, review: Review, now: datetime) -> None:
        if not review.since_is_sure:
            review.since, review.since_is_sure = now, True
        elif review.doubted is not None:
            review.since += max(timedelta(), now - review.doubted)
        elif self._unknown is not None:
            review.since += timedelta(seconds=_boot_seconds() - self._unknown)
        review.doubted = self._unknown = None


def _boot_seconds() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)

"""The rules on each count of persons by itself, and on the difference of a part to its whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fedproc.contract.tool.statistics import StatisticClass, StatisticDecl
from fedproc.site.policy.engine import rules
from fedproc.site.policy.engine.findings import Result
from fedproc.site.policy.engine.objects import Subject
from fedproc.site.policy.engine.rules import Rule

TABLES = (StatisticClass.frequencies, StatisticClass.histogram)
"""whose cells may be hidden"""


@dataclass(frozen=True)
class Against:
    """What a rule has against a statistic."""

    rule: Rule
    result: Result
    text: str


def refused(rule: Rule, text: str) -> Against:
    return Against(rule, Result.refuse, text)


def to_review(rule: Rule, text: str) -> Against:
    return Against(rule, Result.review, text)


def count_of(value: Any) -> int | None:
    """The count; None where it is hidden. Raises ValueError for what is no count."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError("no whole number of 0 or more")
    return value


def of_subject(statistic: StatisticDecl, subject: Subject, floor: int) -> Iterator[Against]:
    """The counts of one object, each by itself and as parts of its persons."""
    absent = [name for name in (*statistic.person_counts, *statistic.estimates) if name not in subject.fields]
    if absent:
        yield refused(rules.PRESENT, f"{_place(statistic)} lacks {', '.join(absent)}")
        return
    try:
        counts = {name: count_of(subject.fields[name]) for name in statistic.person_counts}
    except ValueError:
        yield refused(rules.PRESENT, f"a count of persons in {_place(statistic)} is no whole number of 0 or more")
        return
    yield from _hidden(statistic, subject.fields, counts)
    for name, count in counts.items():
        yield from _of_count(statistic, name, count, floor)
    yield from _of_parts(statistic, counts, floor)


def _place(statistic: StatisticDecl) -> str:
    return f"{statistic.statistic} at {statistic.at or 'the document'}"


def _hidden(statistic: StatisticDecl, fields: Mapping[str, Any], counts: Mapping[str, int | None]) -> Iterator[Against]:
    if counts[statistic.persons] is None and any(fields[name] is not None for name in statistic.estimates):
        yield refused(rules.PRESENT, f"{_place(statistic)} hides {statistic.persons} and shows what comes of them")


def _of_count(statistic: StatisticDecl, name: str, count: int | None, floor: int) -> Iterator[Against]:
    where = f"{name} of {_place(statistic)}"
    if count is None or (count == 0 and name in statistic.complements):
        return
    if count == 0:
        yield to_review(rules.ZERO, f"{where} is 0: nobody is told of by it, and of all others what they are not")
    elif count < floor:
        rule = rules.COMPLEMENT if name in statistic.complements else rules.FLOOR_RULE
        yield refused(rule, f"{where} is below {floor}")


def _of_parts(statistic: StatisticDecl, counts: Mapping[str, int | None], floor: int) -> Iterator[Against]:
    """What is left of the persons when a part of them is taken off."""
    whole = counts[statistic.persons]
    for name in statistic.counts:
        part = counts[name]
        if whole is None or not part or part > whole:
            continue
        if 0 < whole - part < floor:
            yield refused(
                rules.COMPLEMENT, f"{statistic.persons} without {name} of {_place(statistic)} is below {floor}"
            )
        if part == whole or part >= rules.GROUP_MOST.threshold * whole:  # type: ignore[operator]
            yield to_review(rules.GROUP_MOST, f"{name} of {_place(statistic)} is nearly all of {statistic.persons}")

"""The rules on each count of persons by itself, and on the difference of a part to its whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fedproc.contract.tool.statistics import StatisticClass, StatisticDecl
from fedproc.site.policy.engine import disclosure_rules as rules
from fedproc.site.policy.engine.disclosure_rules import Rule
from fedproc.site.policy.engine.findings import Result
from fedproc.site.policy.engine.objects import Subject

TABLES = (StatisticClass.frequencies, StatisticClass.histogram)
"""whose cells may be hidden"""


_MOST_PARTS = 10


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
    elif count > (rules.MANY.threshold or 0):
        yield to_review(rules.MANY, f"{where} is more than the persons of any site")
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
    if whole is not None and statistic.statistic is not StatisticClass.survival:
        parts = [part for name in statistic.counts if (part := counts[name])]
        if any(0 < whole - total < floor for total in _sums_of_several(parts)):
            text = f"{statistic.persons} without several counts of {_place(statistic)} may be below {floor}"
            yield to_review(rules.COMPLEMENT, text)


def _sums_of_several(parts: Sequence[int]) -> set[int]:
    """Of any two or more of the first ten; with more a person looks anyhow."""
    sums: set[tuple[int, int]] = {(0, 0)}
    for part in parts[:_MOST_PARTS]:
        sums |= {(total + part, min(2, many + 1)) for total, many in sums}
    return {total for total, many in sums if many > 1}


def of_nested(statistic: StatisticDecl, subject: Subject, counting: Iterable[str], floor: int) -> Iterator[Against]:
    """A count of persons and one of an object around it, which may be all of whom these are some."""
    inner = subject.fields.get(statistic.persons)
    outer = [each.get(name) for each in subject.around for name in counting]
    if not isinstance(inner, bool) and isinstance(inner, int) and any(0 < n - inner < floor for n in _whole(outer)):
        yield refused(rules.COMPLEMENT, f"{_place(statistic)} and a count around it differ by less than {floor}")


def _whole(values: Iterable[Any]) -> Iterator[int]:
    return (value for value in values if isinstance(value, int) and not isinstance(value, bool))

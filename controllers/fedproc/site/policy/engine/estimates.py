"""The rules on numbers that are computed from persons' values: means, quantiles, models, rates, curves."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from math import floor as floor_of
from math import isfinite, sqrt
from typing import Any

from fedproc.contract.tool.statistics import StatisticClass, StatisticDecl
from fedproc.site.policy.engine import disclosure_rules as rules
from fedproc.site.policy.engine.counts import TABLES, Against, refused, to_review
from fedproc.site.policy.engine.objects import Subject

_NOTHING = 1e-9
_ROUNDED = 0.005
"""by how much two digits of a variance may be off"""
_PARTS = 10
"""numbers, counts among them, that one group of persons may be told by in a statistic that is no model"""
_PARAMETERS = 100
"""of a model, whatever it says of its persons"""
_MOST_STEPS = 100
"""of curves, each of which has fewer persons at risk than the one before"""


def of_estimates(statistic: StatisticDecl, subjects: Sequence[Subject], floor: int) -> Iterator[Against]:
    """What is against the estimates of these objects, whose counts are whole numbers."""
    check = _CHECKS.get(statistic.statistic)
    if statistic.statistic not in TABLES and len(subjects) > _most_subjects(statistic):
        yield to_review(rules.SUBJECTS, f"{_at(statistic)} has more than {_most_subjects(statistic)} groups")
    for subject in subjects:
        persons = subject.fields.get(statistic.persons)
        if isinstance(persons, int) and not isinstance(persons, bool):
            yield from _of_rates(statistic, subject, persons, floor)
            yield from check(statistic, subject, persons, floor) if check else ()
        if statistic.statistic is not StatisticClass.regression and _numbers(statistic, subject) > _PARTS:
            yield to_review(rules.LEVELS, f"{_at(statistic)} has more than {_PARTS} numbers of one group")
    if statistic.statistic is StatisticClass.position:
        yield from _of_neighbours(statistic, subjects, floor)
    if statistic.statistic is StatisticClass.survival:
        curves: dict[Any, list[Subject]] = defaultdict(list)
        for subject in subjects:
            curves[subject.siblings, _texts(subject)].append(subject)
        for steps in curves.values():
            yield from _of_steps(statistic, steps, floor)


def _most_subjects(statistic: StatisticDecl) -> int:
    return _MOST_STEPS if statistic.statistic is StatisticClass.survival else int(rules.SUBJECTS.threshold or 0)


def _at(statistic: StatisticDecl) -> str:
    return f"{statistic.statistic} at {statistic.at or 'the document'}"


def _numbers(statistic: StatisticDecl, subject: Subject) -> int:
    """Of its estimates, and its further counts."""
    return sum(_size(subject.fields.get(name)) for name in statistic.estimates) + len(statistic.counts)


def _size(value: Any) -> int:
    """How many numbers and texts it holds; keys are chosen from what is declared, and counted there."""
    if isinstance(value, dict | list):
        return sum(_size(inner) for inner in (value.values() if isinstance(value, dict) else value))
    return int(value is not None)


def _of_rates(statistic: StatisticDecl, subject: Subject, persons: int, floor: int) -> Iterator[Against]:
    """A share of persons is a count of persons: it, and what is left, are 0 or large enough."""
    for name in statistic.rates:
        share = subject.fields.get(name)
        if share is None:
            continue
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
            yield refused(rules.RATE, f"{name} of {_at(statistic)} is no share between 0 and 1")
            continue
        part = round(share * persons)
        if abs(share * persons - part) > persons * _rounding(share) + _NOTHING * persons:
            yield to_review(rules.RATE, f"{name} of {_at(statistic)} is the share of no whole number of its persons")
        if 0 < part < floor or 0 < persons - part < floor:
            yield refused(rules.RATE, f"{name} of {_at(statistic)} is about fewer than {floor} persons")
        elif part in (0, persons):
            yield to_review(rules.RATE, f"{name} of {_at(statistic)} is none or all of its persons")


def _rounding(value: float) -> float:
    """Half of its last digit as it is written shortest."""
    exponent = Decimal(repr(value)).as_tuple().exponent
    return 0.5 * 10.0 ** int(exponent)


# -- sums and means --------------------------------------------------------------------------------------


def _of_sums(statistic: StatisticDecl, subject: Subject, persons: int, floor: int) -> Iterator[Against]:
    if not (statistic.mean or statistic.sum) or not persons:
        return
    mean, spread = _mean(statistic, subject, persons), _spread(statistic, subject, persons)
    if mean is None and spread is None:
        return
    if mean is None or spread is None:
        yield to_review(rules.DOMINANCE, f"{_at(statistic)} has no spread by which it shows that none dominates")
    else:
        yield from _of_one_value(statistic, persons, mean, spread, floor)
        yield from _of_dominance(statistic, persons, mean, spread)


def _of_one_value(statistic: StatisticDecl, persons: int, mean: float, spread: float, floor: int) -> Iterator[Against]:
    """Without spread all have one value; the mean of 0 and 1 (1 and 2), whose spread follows from it, is a count."""
    share = mean - floor_of(mean)
    if spread <= _NOTHING * persons * mean * mean:
        yield refused(rules.GROUP_ALL, f"all persons of {_at(statistic)} have one value")
    elif 0 < share < 1 and min(part := round(share * persons), persons - part) < floor:
        between = [abs(spread / many - share * (1 - share)) for many in (persons, persons - 1) if many]
        if min(between) < _NOTHING:
            yield refused(rules.RATE, f"a mean of {_at(statistic)} counts fewer than {floor} persons")
        elif min(between) < 1 / persons + _ROUNDED:
            yield to_review(rules.RATE, f"a mean of {_at(statistic)} may count fewer than {floor} persons")


def _of_dominance(statistic: StatisticDecl, persons: int, mean: float, spread: float) -> Iterator[Against]:
    """The largest that one or two persons can have added, by number, mean and squared deviations (P. A. Samuelson).

    Taken by size, so that values below 0 make it larger: a sum of sizes is at least the size of the sum.
    """
    total = abs(mean) * persons
    one = abs(mean) + sqrt(spread * (persons - 1) / persons)
    two = 2 * abs(mean) + sqrt(2 * spread * max(0, persons - 2) / persons)
    if two >= (rules.DOMINANCE.threshold or 1) * total:
        yield to_review(rules.DOMINANCE, f"two persons may have nearly all of a sum of {_at(statistic)}")
    if total - two < (rules.P_PERCENT.threshold or 0) * one:
        yield to_review(rules.P_PERCENT, f"what the others have of a sum of {_at(statistic)} may tell the largest")


def _mean(statistic: StatisticDecl, subject: Subject, persons: int) -> float | None:
    if statistic.mean:
        return _number(subject.fields.get(statistic.mean))
    total = _number(subject.fields.get(statistic.sum or ""))
    return None if total is None else total / persons


def _spread(statistic: StatisticDecl, subject: Subject, persons: int) -> float | None:
    """The sum of squared deviations from the mean, from whatever says it."""
    squares = _number(subject.fields.get(statistic.sum_of_squares or ""))
    variance = _number(subject.fields.get(statistic.variance or ""))
    deviation = _number(subject.fields.get(statistic.standard_deviation or ""))
    if squares is None and deviation is not None:
        variance = deviation * deviation if variance is None else variance
    if squares is None and variance is not None:
        squares = variance * persons
    return None if squares is None or squares < 0 else squares


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        return None
    return float(value)


# -- quantiles, models -----------------------------------------------------------------------------------


def _of_quantile(statistic: StatisticDecl, subject: Subject, persons: int, floor: int) -> Iterator[Against]:
    which = _number(subject.fields.get(statistic.quantile or ""))
    if which is None or not 0 < which < 1:
        yield refused(rules.EXTREME, f"{_at(statistic)} is no quantile between 0 and 1, without these two")
    elif min(Fraction(repr(which)), 1 - Fraction(repr(which))) * persons < floor:
        yield refused(rules.TAIL, f"fewer than {floor} persons lie beyond a quantile of {_at(statistic)}")


def _of_neighbours(statistic: StatisticDecl, subjects: Sequence[Subject], floor: int) -> Iterator[Against]:
    """Quantiles of one variable: between two of them are enough persons, or each is nearly a person's own value."""
    of_one: dict[Any, list[Subject]] = defaultdict(list)
    for subject in subjects:
        of_one[subject.siblings, _texts(subject)].append(subject)
    for together in of_one.values():
        which = sorted(
            {q for each in together if (q := _number(each.fields.get(statistic.quantile or ""))) is not None}
        )
        persons = min((n for each in together if isinstance(n := each.fields.get(statistic.persons), int)), default=0)
        if any((Fraction(repr(b)) - Fraction(repr(a))) * persons < floor for a, b in pairwise(which)):
            yield refused(rules.TAIL, f"fewer than {floor} persons lie between two quantiles of {_at(statistic)}")


def _texts(subject: Subject) -> tuple[tuple[str, str], ...]:
    """Which variable, or which group, it is of."""
    return tuple(sorted((name, text) for name, text in subject.fields.items() if isinstance(text, str)))


def _of_extremes(statistic: StatisticDecl, _subject: Subject, _persons: int, _floor: int) -> Iterator[Against]:
    yield refused(rules.EXTREME, f"{_at(statistic)}: smallest and largest values are single persons'")


def _parameters(value: Any) -> int:
    """Of a model: an object of a few numbers is what is said of one, as its estimate, error and bounds."""
    if not isinstance(value, dict | list):
        return int(value is not None)
    inner = value.values() if isinstance(value, dict) else value
    return sum(1 if isinstance(each, dict) and 0 < _size(each) <= _PARTS else _size(each) for each in inner)


def _of_model(statistic: StatisticDecl, subject: Subject, persons: int, _floor: int) -> Iterator[Against]:
    parameters = sum(_parameters(subject.fields.get(name)) for name in statistic.estimates)
    if parameters > _PARAMETERS:
        yield to_review(rules.LEVELS, f"{_at(statistic)} has more than {_PARAMETERS} parameters")
    if persons - parameters < (rules.FREEDOM.threshold or 0):
        yield refused(rules.FREEDOM, f"{_at(statistic)} has too few degrees of freedom")
    if parameters > (rules.PARAMETERS.threshold or 0) * persons:
        yield refused(rules.PARAMETERS, f"{_at(statistic)} has more parameters than a tenth of its persons")


# -- curves ----------------------------------------------------------------------------------------------


def _of_risk(statistic: StatisticDecl, _subject: Subject, persons: int, floor: int) -> Iterator[Against]:
    least = max(floor, int(rules.AT_RISK.threshold or 0))
    if 0 < persons < least:
        yield refused(rules.AT_RISK, f"a step of {_at(statistic)} has fewer than {least} persons at risk")


def _of_steps(statistic: StatisticDecl, steps: Sequence[Subject], floor: int) -> Iterator[Against]:
    """Who is at risk no more has had the event, or was lost: both are counts, given or not."""
    if statistic.estimates and not statistic.counts:
        yield to_review(rules.DECLARED, f"{_at(statistic)} names no counts of events")
    at_risk = [count for step in steps if isinstance(count := step.fields.get(statistic.persons), int)]
    losses = [[n for name in statistic.counts if isinstance(n := step.fields.get(name), int)] for step in steps]
    if len(at_risk) < len(steps) or any(len(row) < len(statistic.counts) for row in losses):
        yield to_review(rules.HIDDEN, f"{_at(statistic)} hides counts, which those before and after may tell")
        return
    for now, lost in zip(at_risk, losses, strict=True):
        if 0 < now - sum(lost) < floor:
            yield refused(rules.COMPLEMENT, f"fewer than {floor} are left after a step of {_at(statistic)}")
    for (now, after), lost in zip(pairwise(at_risk), losses, strict=False):
        if 0 < now - after < floor or (lost and 0 < abs(now - after - sum(lost)) < floor):
            yield refused(rules.COMPLEMENT, f"fewer than {floor} leave between two steps of {_at(statistic)}")


_CHECKS: dict[StatisticClass, Callable[[StatisticDecl, Subject, int, int], Iterator[Against]]] = {
    StatisticClass.linear_aggregation: _of_sums,
    StatisticClass.position: _of_quantile,
    StatisticClass.extreme_values: _of_extremes,
    StatisticClass.regression: _of_model,
    StatisticClass.survival: _of_risk,
}

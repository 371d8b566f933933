"""Sums over sites, on the cells that all of them kept: what is shown equals the same sums over all persons."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

from answers import Answer, Group, Row, Summary
from faults import Fault
from life_tables.survival import Bin


def common_bins(tables: Sequence[Sequence[Row]]) -> list[Bin]:
    """The event table of all persons on the time points that every site kept; empty if there is none."""
    shared = sorted(set.intersection(*({row.end for row in table} for table in tables)))
    rows = [row for table in tables for row in table]
    return [_bin(rows, start, end) for start, end in pairwise((0.0, *shared))]


def variable(name: str, answers: Sequence[Answer]) -> dict[str, Any]:
    """One variable over all sites that did not withhold it, as JSON; raises :class:`Fault` if kinds or units differ."""
    kinds = {answer.kinds[name] for answer in answers}
    if len(kinds) > 1:
        raise Fault(f"variable {name}: a number at one site and a category at another; make the datasets agree")
    told = {answer.host: answer.summaries[name] for answer in answers if name in answer.summaries}
    head = {
        "name": name,
        "kind": kinds.pop(),
        "hosts": sorted(told),
        "withheld": {answer.host: answer.withheld[name] for answer in answers if name in answer.withheld},
    }
    if not told:
        return head
    summaries = list(told.values())
    units = {summary.unit for summary in summaries}
    if len(units) > 1:
        named = ", ".join(f"{s.unit or 'no unit'} at {host}" for host, s in sorted(told.items()))
        raise Fault(f"variable {name} has different units ({named}): make the datasets' descriptions agree")
    head |= {"unit": units.pop()} if head["kind"] == "number" else {}
    totals = {"n": sum(s.n for s in summaries), "missing": sum(s.missing for s in summaries)}
    return {**head, **totals, **(_number(summaries) if head["kind"] == "number" else _category(summaries))}


def moments(parts: Iterable[tuple[int, float, float]]) -> tuple[int, float, float]:
    """Number, mean and sum of squared deviations of the union of groups given by theirs.

    Without cancellation: deviations of the means are taken, never differences of large sums (T. F. Chan,
    G. H. Golub, R. J. LeVeque, The American Statistician 37 (1983) 242-247).
    """
    groups = list(parts)
    n = sum(count for count, _, _ in groups)
    mean = math.fsum(count * value for count, value, _ in groups) / n
    return n, mean, math.fsum(m2 + count * (value - mean) ** 2 for count, value, m2 in groups)


def _bin(rows: Iterable[Row], start: float, end: float) -> Bin:
    inside = [row for row in rows if start <= row.start and row.end <= end]
    at_risk = sum(row.at_risk for row in inside if row.start == start)
    return Bin(end, at_risk, sum(row.events for row in inside), sum(row.censored for row in inside))


def _number(summaries: Sequence[Summary]) -> dict[str, Any]:
    filled = [(s.n, s.mean, s.m2) for s in summaries if s.mean is not None and s.m2 is not None]
    if not filled:
        return {"mean": None, "sd": None}
    n, mean, m2 = moments(filled)
    shown = {"mean": mean, "sd": math.sqrt(m2 / (n - 1)) if n > 1 else None}
    return shown | ({"histogram": _histogram(summaries)} if summaries[0].groups else {})


def _histogram(summaries: Sequence[Summary]) -> list[dict[str, Any]]:
    shared = set.intersection(*({group.key[1] for group in summary.groups} for summary in summaries))
    edges = (None, *sorted(edge for edge in shared if edge is not None), None)
    groups = [group for summary in summaries for group in summary.groups]
    return [{"from": a, "to": b, "count": sum(g.count for g in groups if _within(g, a, b))} for a, b in pairwise(edges)]


def _within(group: Group, start: float | None, end: float | None) -> bool:
    low, high = group.key
    return (start is None or (low is not None and low >= start)) and (end is None or (high is not None and high <= end))


def _category(summaries: Sequence[Summary]) -> dict[str, Any]:
    """Categories that some site put together stay together: the finest grouping that all sites can tell."""
    groups = [group for summary in summaries for group in summary.groups]
    together: list[list[str]] = []
    for group in groups:
        touched = [known for known in together if set(known) & set(group.key)]
        merged = list(dict.fromkeys(value for part in (*touched, group.key) for value in part))
        together = [*(known for known in together if known not in touched), merged]
    return {
        "counts": [
            {"values": sorted(known), "count": sum(group.count for group in groups if group.key[0] in known)}
            for known in sorted(together, key=min)
        ]
    }

"""What a site answered: ``events.json``, read as input from a stranger and checked in every part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from life_tables.cells import showable
from log_rank import Excess
from regression.answers import Answer
from regression.jsonfile import read_object
from regression.rows import Rows, read_rows
from request import Request

MOST_GROUPS = 40


@dataclass(frozen=True)
class Row:
    """One bin of a site's event table: times above ``start`` up to ``end``."""

    start: float
    end: float
    at_risk: int
    events: int
    censored: int


@dataclass(frozen=True)
class Told:
    """One host's checked answer.

    ``groups`` are its event tables by group, in order; withheld ones are None. ``test`` is over all groups, and None
    where the host tells nothing of it.
    """

    host: str
    dataset: str
    version: str
    columns: Any
    groups: dict[str | None, tuple[Row, ...] | None]
    test: Excess | None
    rows: Rows
    """``used`` are the persons of the groups that are told"""


def read_answer(path: Path, host: str, request: Request) -> Told:
    """The answer of ``host``; raises Fault naming host and field."""
    answer = Answer(host, read_object(path, f"answer of {host}"))
    answer.check(("dataset", "columns", "rows", "groups"), schema_version=1, host=host, request=request.as_json())
    dataset = answer.part("dataset")
    dataset.check(("id", "version"))
    groups = [Answer(host, part) for part in answer.objects("groups", MOST_GROUPS)]
    read = {_name(group): _rows(group, request) for group in groups}
    if len(read) < len(groups):
        raise answer.wrong("groups: one is there twice")
    columns = answer.objects("columns", len(request.columns))
    test = _test(groups, [rows is not None for rows in read.values()])
    used = sum(group.count("persons") for group, rows in zip(groups, read.values(), strict=True) if rows is not None)
    rows = read_rows(answer, used, request.min_cell)
    return Told(host, dataset.text("id"), dataset.text("version"), columns, read, test, rows)


def _name(group: Answer) -> str | None:
    return None if group.holds("group", None) else group.text("group")


def _rows(group: Answer, request: Request) -> tuple[Row, ...] | None:
    if group.holds("withheld", "fewer than min_cell persons"):
        group.check(("group", "withheld"))
        return None
    group.check(("group", "persons", "rows", "after", "excess", "variance"))
    after = group.part("after")
    after.check(("at_risk",))
    rows = tuple(_row(Answer(group.host, part), request) for part in group.objects("rows", len(request.grid)))
    _check_rows(group, rows, _count(after, "at_risk", request), request)
    if _count(group, "persons", request) != (rows[0].at_risk if rows else after.count("at_risk")):
        raise group.wrong("persons are not those at risk at the start")
    return rows


def _test(groups: Sequence[Answer], told: Sequence[bool]) -> Excess | None:
    """Over all groups, of which some may be withheld."""
    telling = [group for group, is_told in zip(groups, told, strict=True) if is_told]
    if len(telling) < 2 or any(group.holds("excess", None) for group in telling):
        return None
    where = np.flatnonzero(told)
    events, variance = np.zeros(len(groups)), np.zeros((len(groups), len(groups)))
    events[where] = [group.number("excess") for group in telling]
    variance[np.ix_(where, where)] = [group.vector("variance", len(telling)) for group in telling]
    if not np.allclose(variance, variance.T) or np.linalg.eigvalsh(variance).min() < -1e-9 * np.trace(variance) - 1e-12:
        raise telling[0].wrong("variance is none")
    return Excess(events, variance)


def _row(part: Answer, request: Request) -> Row:
    part.check(("from", "to", "at_risk", "events", "censored"))
    counts = (_count(part, key, request) for key in ("at_risk", "events", "censored"))
    return Row(part.number("from"), part.number("to"), *counts)


def _count(part: Answer, key: str, request: Request) -> int:
    value = part.count(key)
    if not showable(value, request.min_cell):
        raise part.wrong(f"{key} is a small count that should not have left the site")
    return value


def _check_rows(group: Answer, rows: Sequence[Row], after: int, request: Request) -> None:
    if rows and rows[0].start != 0:
        raise group.wrong("the first row does not start at 0")
    if not {row.end for row in rows} <= set(request.grid):
        raise group.wrong("a time is no point of the grid that was asked for")
    following = [*((row.start, row.at_risk) for row in rows[1:]), (rows[-1].end if rows else 0.0, after)]
    for row, (start, at_risk) in zip(rows, following, strict=False):
        if not row.start < row.end == start or row.at_risk - row.events - row.censored != at_risk:
            raise group.wrong("rows do not follow from one another")

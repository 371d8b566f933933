"""Random tables with random totals: a hidden count is never known more closely than the floor."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import Bounds, LinearConstraint, milp
from tests.support.declaring import against, csv_output
from tests.support.examples import examples

from fedproc.site.policy.engine.margins import MOST_HIDDEN, Answer, Equation, solve

pytestmark = pytest.mark.slow


Counts = dict[Any, int | None]


@st.composite
def tables(draw: Any, most: int = 4) -> tuple[Counts, list[Equation], list[Any], int]:
    """A table of two or three dimensions, of which some cells are hidden and some totals published."""
    shape = draw(st.lists(st.integers(2, most), min_size=2, max_size=3).filter(lambda s: np.prod(s) <= 24))
    places = list(itertools.product(*map(range, shape)))
    counts = dict(
        zip(places, draw(st.lists(st.integers(0, 25), min_size=len(places), max_size=len(places))), strict=True)
    )
    hidden = draw(st.lists(st.sampled_from(places), min_size=1, unique=True))
    values: Counts = {place: None if place in hidden else counts[place] for place in places}
    equations = []
    for axis in draw(st.lists(st.sampled_from(range(len(shape))), unique=True)):
        for rest in itertools.product(*(range(n) for i, n in enumerate(shape) if i != axis)):
            parts = tuple((*rest[:axis], level, *rest[axis:]) for level in range(shape[axis]))
            whole = ("total", axis, rest)
            equations.append(Equation(whole, parts))
            values[whole] = sum(counts[part] for part in parts)
    return values, equations, hidden, draw(st.sampled_from([5, 10]))


def narrowest(values: Counts, equations: list[Equation], hidden: list[Any]) -> float:
    """By how much the best known hidden count may still differ, by SciPy's integer programming (HiGHS)."""
    rows = np.array([[int(place in each.parts) for place in hidden] for each in equations]).reshape(-1, len(hidden))
    right = [values[e.whole] - sum(values[p] or 0 for p in e.parts if p not in hidden) for e in equations]  # type: ignore[operator]
    found = []
    for index in range(len(hidden)):
        if not rows.size or not rows[:, index].any():
            continue
        ends = []
        for sign in (1, -1):
            wanted = np.zeros(len(hidden))
            wanted[index] = sign
            ends.append(milp(wanted, constraints=LinearConstraint(rows, right, right), integrality=np.ones(len(hidden)),
                             bounds=Bounds(0, np.inf)).fun)  # fmt: skip
        found.append(-ends[1] - ends[0])
    return min(found, default=float("inf"))


@examples(150)
@given(tables())
def test_hidden_count_is_never_known_more_closely_than_the_floor(given: Any) -> None:
    values, equations, hidden, floor = given
    answer = solve(values, equations, hidden, floor)
    width = narrowest(values, equations, hidden)
    assert answer is not Answer.contradictory
    if answer is Answer.safe:
        assert width > floor - 0.5
    if answer is Answer.exposed:
        assert width < floor - 0.5


@examples(100)
@given(tables(most=5).filter(lambda each: len({len(p) for p in each[2]}) == 1 and len(each[2][0]) == 2))
def test_tables_of_two_dimensions_are_always_told(given: Any) -> None:
    values, equations, hidden, floor = given
    assert solve(values, equations, hidden, floor) is not Answer.unproved


@examples(100)
@given(tables().filter(lambda each: len(each[2][0]) == 2))
def test_released_table_tells_no_hidden_count_more_closely_than_the_floor(tmp_path_factory: Any, given: Any) -> None:
    """From the file's bytes: the oracle has equations of its own."""
    values, equations, hidden, floor = given
    columns = [{"name": name, "type": "category", "values": [str(n) for n in range(9)]} for name in ("a", "b")]
    table = csv_output(
        [*columns, {"name": "n", "type": "integer"}],
        {"statistic": "frequencies", "persons": "n", "dimensions": ["a", "b"]},
    )
    lines = ["a,b,n"]
    for place, count in values.items():
        if place[0] == "total":
            _, axis, (level,) = place
            place = (level, "") if axis == 1 else ("", level)  # noqa: PLW2901
        lines.append(f"{place[0]},{place[1]},{'' if count is None else count}")
    found = against(table, tmp_path_factory.mktemp("t"), "\n".join(lines) + "\n", floor=floor, name="t.csv")
    if ("table.hidden", "refuse") not in found:
        assert ("table.hidden", "review") not in found, "of two dimensions each is told"
        assert narrowest(values, equations, hidden) > floor - 0.5


def test_numbers_that_no_table_has_are_found() -> None:
    equations = [Equation("row", ("a", "b"))]
    assert solve({"row": 5, "a": 9, "b": None}, equations, ["b"], 10) is Answer.contradictory
    assert solve({"row": 5, "a": 9, "b": 9}, equations, [], 10) is Answer.contradictory


def test_what_is_too_large_is_not_called_safe() -> None:
    names = [f"c{n}" for n in range(MOST_HIDDEN + 1)]
    assert solve({"row": 9999}, [Equation("row", tuple(names))], names, 10) is Answer.unproved


@pytest.mark.parametrize("size", [4, 8, 12])
def test_large_table_is_solved(size: int) -> None:
    places = list(itertools.product(range(size), repeat=2))
    values: Counts = {("r", i): 40 * size for i in range(size)} | {("c", i): 40 * size for i in range(size)}
    rows = [Equation(("r", i), tuple((i, j) for j in range(size))) for i in range(size)]
    columns = [Equation(("c", j), tuple((i, j) for i in range(size))) for j in range(size)]
    assert solve(values, [*rows, *columns], places, 10) is Answer.safe

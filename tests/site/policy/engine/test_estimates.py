"""Numbers computed from persons' values."""

from __future__ import annotations

import random
import statistics
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.declaring import COUNT, NUMBER, against, closed, entries, json_output
from tests.support.examples import examples

NUMBERS = {"type": "array", "maxItems": 5000, "items": {"type": "number"}}


def one(statistic: str, schema: dict[str, Any], **more: Any) -> Any:
    return json_output(closed(n=COUNT, **schema), {"statistic": statistic, "persons": "n"} | more)


MEAN = one("linear_aggregation", {"mean": NUMBER, "m2": NUMBER}, mean="mean", sum_of_squares="m2")


def told(values: list[float]) -> dict[str, Any]:
    mean = statistics.fmean(values)
    return {"n": len(values), "mean": mean, "m2": sum((value - mean) ** 2 for value in values)}


def test_mean_of_many_of_whom_none_dominates_passes(tmp_path):
    assert against(MEAN, tmp_path, told([float(50 + n % 20) for n in range(60)])) == []


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([1.0] * 20 + [5000.0, 4000.0], "sums.dominance"),
        ([float(n - 10) for n in range(21)], "sums.dominance"),
        ([7.0] * 30, "group.all"),
        ([1.0] * 3 + [0.0] * 60, "persons.rate"),
        ([1.0] * 60 + [0.0] * 3, "persons.rate"),
    ],
    ids=["two have it", "around zero", "all the same", "three of them", "all but three"],
)
def test_mean_that_tells_of_a_few_does_not_pass(tmp_path, values, found):
    assert found in {rule for rule, _ in against(MEAN, tmp_path, told(values))}


def test_mean_without_its_spread_waits_for_a_person(tmp_path):
    bare = one("linear_aggregation", {"mean": NUMBER}, mean="mean")
    assert against(bare, tmp_path, {"n": 50, "mean": 60.0}) == [("sums.dominance", "review")]


@pytest.mark.slow
@examples(200)
@given(st.lists(st.one_of(st.floats(0, 100), st.floats(0, 1e6)), min_size=10, max_size=60))
def test_mean_that_passes_is_dominated_by_nobody(tmp_path_factory: Any, values: list[float]) -> None:
    folder = tmp_path_factory.mktemp("m")
    if against(MEAN, folder, told(values)) == []:
        largest = sorted(values, reverse=True)
        assert sum(largest[:2]) < 0.9 * sum(values) + 1e-6
        assert sum(largest[2:]) >= 0.1 * largest[0] - 1e-6


QUANTILE = one("position", {"q": NUMBER, "value": NUMBER}, quantile="q", values=["value"])


@pytest.mark.parametrize(
    ("share", "persons", "found"),
    [
        (0.5, 40, []),
        (0.25, 40, []),
        (0.9, 100, []),
        (0.91, 100, [("position.tail", "refuse")]),
        (0.05, 40, [("position.tail", "refuse")]),
        (0.99, 40, [("position.tail", "refuse")]),
        (0, 4000, [("position.extreme", "refuse")]),
        (1, 4000, [("position.extreme", "refuse")]),
        (None, 4000, [("position.extreme", "refuse")]),
    ],
)
def test_quantile_has_enough_persons_on_both_sides(tmp_path, share, persons, found):
    assert against(QUANTILE, tmp_path, {"n": persons, "q": share, "value": 61.5}) == found


QUANTILES = json_output(
    closed(n=COUNT, quantiles=entries(q=NUMBER, value=NUMBER, n=COUNT)),
    {"statistic": "frequencies", "persons": "n"},
    {"statistic": "position", "at": "quantiles[]", "persons": "n", "quantile": "q", "values": ["value"]},
)


@pytest.mark.parametrize(("parts", "found"), [(10, []), (11, [("position.tail", "refuse")])])
def test_quantiles_are_enough_persons_apart(tmp_path, parts, found):
    which = [n / parts for n in range(2, parts - 1)]
    document = {"n": 100, "quantiles": [{"q": q, "value": 3.5, "n": 100} for q in which]}
    assert against(QUANTILES, tmp_path, document) == found


@pytest.mark.parametrize(
    ("mean", "m2", "result"),
    [
        (0.03, 100 * 0.03 * 0.97, "refuse"),
        (0.03, 99 * 0.03 * 0.97, "refuse"),
        (1.03, 100 * 0.03 * 0.97, "refuse"),
        (0.03, 2.9, "review"),
        (1.97, 2.9, "review"),
    ],
)
def test_mean_of_two_values_is_a_count_however_it_is_coded(tmp_path, mean, m2, result):
    assert ("persons.rate", result) in against(MEAN, tmp_path, {"n": 100, "mean": mean, "m2": m2})


def test_mean_of_two_values_of_enough_persons_passes(tmp_path):
    assert against(MEAN, tmp_path, {"n": 100, "mean": 1.4, "m2": 24.0}) == []


def test_smallest_and_largest_values_are_refused(tmp_path):
    extremes = one("extreme_values", {"min": NUMBER, "max": NUMBER}, values=["min", "max"])
    assert against(extremes, tmp_path, {"n": 4000, "min": 18.0, "max": 99.0}) == [("position.extreme", "refuse")]


MODEL = one("regression", {"coefficients": NUMBERS}, values=["coefficients"])


@pytest.mark.parametrize(
    ("parameters", "persons", "found"),
    [(10, 100, set()), (11, 100, {"model.parameters"}), (5, 12, {"model.freedom", "model.parameters"})],
)
def test_model_has_no_more_parameters_than_a_tenth_of_its_persons(tmp_path, parameters, persons, found):
    document = {"n": persons, "coefficients": [0.5] * parameters}
    assert {rule for rule, _ in against(MODEL, tmp_path, document)} == found


def test_list_of_numbers_named_one_mean_waits_for_a_person(tmp_path):
    rows = one("association", {"values": NUMBERS}, values=["values"])
    assert against(rows, tmp_path, {"n": 100, "values": [random.random() for _ in range(100)]}) == [
        ("table.levels", "review")
    ]


RATE = one("performance", {"accuracy": NUMBER}, rates=["accuracy"])


@pytest.mark.parametrize(
    ("rate", "found"),
    [
        (0.8, []),
        (0.41, []),
        (0.412345678901234, [("persons.rate", "review")]),
        (0.03, [("persons.rate", "refuse")]),
        (0.97, [("persons.rate", "refuse")]),
        (1.0, [("persons.rate", "review")]),
        (0.0, [("persons.rate", "review")]),
        (80, [("persons.rate", "refuse")]),
    ],
)
def test_rate_counts_persons(tmp_path, rate, found):
    assert against(RATE, tmp_path, {"n": 100, "accuracy": rate}) == found


STEP = {"statistic": "survival", "at": "rows[]", "persons": "at_risk", "counts": ["events", "censored"]}
CURVE = json_output(closed(rows=entries(at_risk=COUNT, events=COUNT, censored=COUNT)), STEP)


def curve(*steps: tuple[Any, Any, Any]) -> dict[str, Any]:
    return {"rows": [dict(zip(("at_risk", "events", "censored"), step, strict=True)) for step in steps]}


@pytest.mark.parametrize(
    ("steps", "found"),
    [
        ([(100, 20, 15), (65, 20, 15)], set()),
        ([(100, 20, 15), (9, 0, 0)], {"survival.at_risk", "persons.floor", "persons.zero", "persons.complement"}),
        ([(100, 20, 15), (60, 20, 15)], {"persons.complement"}),
        ([(100, 20, 75)], {"persons.complement"}),
        ([(100, None, 15), (65, 20, 15)], {"table.hidden"}),
        ([(100, 20, 0), (80, 20, 15)], {"persons.zero"}),
    ],
)
def test_nobody_leaves_a_curve_alone(tmp_path, steps, found):
    assert {rule for rule, _ in against(CURVE, tmp_path, curve(*steps))} == found


def test_ten_are_at_risk_though_the_floor_is_lower(tmp_path):
    assert ("survival.at_risk", "refuse") in against(CURVE, tmp_path, curve((9, 0, 0)), floor=5)

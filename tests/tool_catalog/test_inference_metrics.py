"""What a researcher's own model can make the measures of ``model-inference`` say of one person: nothing by itself."""

from __future__ import annotations

import importlib.util
import sys
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

pytestmark = pytest.mark.slow

SOURCE = Path(__file__).parents[2] / "tool_catalog/model_inference/source/metrics.py"


@pytest.fixture(scope="module")
def metrics() -> ModuleType:
    spec = importlib.util.spec_from_file_location("inference_metrics", SOURCE)
    assert spec is not None and spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = found
    spec.loader.exec_module(found)
    return found


@pytest.mark.parametrize("persons", [20, 80, 300])
def test_whether_a_model_is_right_of_one_person_or_of_nobody_is_not_told(metrics: ModuleType, persons: int) -> None:
    few = [metrics.share_of("sensitivity", right, persons, 10) for right in range(10)]
    most = [metrics.share_of("sensitivity", persons - wrong, persons, 10) for wrong in range(10)]
    assert few == [{"what": "sensitivity", "extent": "few"}] * 10
    assert most == [{"what": "sensitivity", "extent": "most"}] * 10


@pytest.mark.parametrize("least", [5, 10, 20])
def test_whether_a_row_is_left_out_or_none_is_not_told(metrics: ModuleType, least: int) -> None:
    small = max(10, least)
    assert {metrics.class_of(rows, least) for rows in range(small)} == {"few"}
    told = [metrics.class_of(rows, least) for rows in (small, 99, 100, 999, 1000, 10**6)]
    assert told == ["10 to 99", "10 to 99", "100 to 999", "100 to 999", "1000 or more", "1000 or more"]


def test_shares_are_in_steps_of_persons_enough(metrics: ModuleType) -> None:
    """Of two models on the same 80 persons one more is right."""
    first, second = (metrics.share_of("accuracy", right, 80, 10)["share"] for right in (43, 44))
    assert first == second == 0.6
    for persons in range(20, 1200, 7):
        told = [metrics.in_steps(right, persons, 10) for right in range(10, persons - 9)]
        steps = sorted(set(told))
        assert all(persons * step + 1e-9 >= 10 and persons * (1 - step) + 1e-9 >= 10 for step in steps)
        assert all(b - a >= 10 / persons - 1e-9 for a, b in pairwise(steps))
        assert told == sorted(told)


@pytest.mark.parametrize("positives", [20, 30, 60, 150])
def test_area_of_a_model_that_is_of_one_person_is_that_of_chance(metrics: ModuleType, positives: int) -> None:
    outcomes = np.arange(4 * positives) < positives
    for one in (0, -1):
        probabilities = np.zeros(len(outcomes))
        probabilities[one] = 1.0
        predicted = metrics.Predicted(probabilities, outcomes, list(map(str, range(len(outcomes)))))
        assert metrics.auc_of(predicted) == 0.5


def test_area_over_few_of_one_outcome_is_not_told(metrics: ModuleType) -> None:
    outcomes = np.arange(400) < 19
    predicted = metrics.Predicted(outcomes.astype(float), outcomes, list(map(str, range(400))))
    assert metrics.auc_of(predicted) is None


def test_calibration_tells_of_no_class_what_one_person_changes(metrics: ModuleType) -> None:
    outcomes, persons = np.arange(100) % 3 == 0, list(map(str, range(100)))
    found = []
    for value in (0.0, 1.0):
        probabilities = np.zeros(100)
        probabilities[3] = value
        found.append(metrics.calibration_of(metrics.Predicted(probabilities, outcomes, persons), [0.5], 10))
    assert found == [[{"first": 0, "last": 1, "persons": 100, "share": 0.3}]] * 2
    moved = np.where(np.arange(100) < 55, 0.1, 0.9)
    before = metrics.calibration_of(metrics.Predicted(moved, outcomes, persons), [0.5], 10)
    moved[3] = 0.9
    assert metrics.calibration_of(metrics.Predicted(moved, outcomes, persons), [0.5], 10) == before

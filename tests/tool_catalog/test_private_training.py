"""``flower-logistic`` with differential privacy: what is spent, by accountant and oracle, and what is told."""

from __future__ import annotations

import json
import math
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import NormalDist
from typing import Any

import pytest
from tests.support.tool_programs import ToolProgram
from tests.tool_catalog.test_flower_logistic import Training, _all_join

from fedproc.demo.data import SHARES

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

Write = Callable[[str, Any], Path]
FEATURES = ["mean_radius", "mean_texture", "mean_concave_points"]
BOUNDS = {"mean_radius": [5, 30], "mean_texture": [5, 45], "mean_concave_points": [0, 0.25]}
PRIVATE = {
    "features": FEATURES, "bounds": BOUNDS, "epsilon": 4, "delta": 1e-5, "rounds": 5, "local_steps": 5,
    "learning_rate": 2.0, "l2": 0.0, "join_seconds": 280, "round_seconds": 200,
}  # fmt: skip
PHI = NormalDist().cdf


def delta_of(epsilon: float, multiplier: float, steps: int) -> float:
    """What so many Gaussian mechanisms spend, exactly (B. Balle, Y.-X. Wang, ICML 2018, theorem 8): the oracle."""
    mu = math.sqrt(steps) / multiplier
    return PHI(mu / 2 - epsilon / mu) - math.exp(epsilon) * PHI(-mu / 2 - epsilon / mu)


@pytest.fixture
def training(
    flower: ToolProgram, free_port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Training]:
    monkeypatch.setattr("tests.tool_catalog.test_flower_logistic.WAIT", 300)  # the accountant takes long to load
    made = Training(flower, free_port, tmp_path)
    yield made
    made.close()


def _trained(training: Training, data: Path, write_json: Write, **changes: Any) -> dict[str, Any]:
    parameters = write_json("parameters.json", PRIVATE | changes)
    training.serve(parameters)
    _all_join(training, data, parameters)
    code, errors = training.ended()
    assert (code, errors) == (0, "")
    return training.result()


def test_result_says_what_was_spent_and_the_oracle_agrees(training: Training, data: Path, write_json: Write) -> None:
    result = _trained(training, data, write_json)
    told = result["model"]["privacy"]
    assert told["steps"] == 5 * (5 + 1)
    assert (told["delta"], told["clip"]) == (1e-5, 1.0)
    assert 3.999999 < told["epsilon"] <= 4.0
    assert told["train_rows"] == result["rounds"][0]["train_rows"]
    assert delta_of(4.0, told["noise_multiplier"], told["steps"]) <= 1e-5
    assert delta_of(told["epsilon"] * 0.995, told["noise_multiplier"], told["steps"]) > 1e-5, "more noise than needed"
    assert result["rounds"][-1]["accuracy"] > 0.7, "it learns all the same"


def test_columns_are_scaled_by_the_stated_bounds_and_not_by_the_rows(
    training: Training, data: Path, write_json: Write
) -> None:
    import numpy as np

    _trained(training, data, write_json, rounds=1)
    model = np.load(training.output / "model.npz")
    assert np.allclose(model["mean"], [17.5, 25, 0.125])
    assert np.allclose(model["scale"], [12.5, 20, 0.125])


ASK = """
import json, sys
from privacy import Budget
budget = Budget(**json.loads(sys.argv[1]))
noise = budget.multiplier()
print(json.dumps([noise, budget.spent(noise), budget.spent(float(sys.argv[2]))]))
"""


@pytest.mark.parametrize(("steps", "epsilon", "delta"), [(1, 1.0, 1e-5), (30, 2.0, 1e-6), (1000, 8.0, 1e-5)])
def test_noise_is_the_least_that_the_oracle_allows(
    flower: ToolProgram, steps: int, epsilon: float, delta: float
) -> None:
    asked = json.dumps({"epsilon": epsilon, "delta": delta, "clip": 1.0, "steps": steps})
    source = flower.folder / "source"
    command = [*flower.python, "-c", ASK, asked, "3.730632"]
    ended = subprocess.run(command, cwd=source, env=flower.variables(), capture_output=True, text=True, check=True)
    noise, spent, known = json.loads(ended.stdout)
    assert spent <= epsilon
    assert delta_of(epsilon, noise, steps) <= delta
    assert delta_of(epsilon, noise * 0.99, steps) > delta
    if steps == 1:
        assert noise == pytest.approx(3.730632, abs=2e-3), "the known value of Balle and Wang's calibration"
        assert known == pytest.approx(1.0, abs=1e-3)


WRONG = {
    "epsilon and delta: differential privacy needs both": {"delta": None},
    "bounds: they belong to epsilon and delta, or to secure_aggregation": {"epsilon": None, "delta": None},
    "missing: with epsilon no rows can be left out": {"missing": "leave_out"},
    "bounds: with epsilon or secure_aggregation each number needs": {"bounds": {"mean_radius": [5, 30]}},
    "bounds: must be an object": {"bounds": {"mean_radius": [30, 5]}},
    "at most 100000 steps": {"rounds": 1000, "local_steps": 100},
}


@pytest.mark.parametrize("text", WRONG)
def test_half_of_it_is_refused_as_it_would_protect_nobody(
    training: Training, data: Path, write_json: Write, text: str
) -> None:
    given = {key: value for key, value in (PRIVATE | WRONG[text]).items() if value is not None}
    training.join("UB", data / "UB" / "wisconsin", write_json("parameters.json", given))
    code, errors = training.ended("UB")
    assert code == 2
    assert text in errors


def test_without_epsilon_nothing_is_claimed(training: Training, data: Path, write_json: Write) -> None:
    parameters = write_json("parameters.json", {"rounds": 1, "join_seconds": 280})
    training.serve(parameters)
    _all_join(training, data, parameters)
    assert training.ended()[0] == 0
    assert training.result()["model"] == {"file": "model.npz"}
    assert len(SHARES) == 3

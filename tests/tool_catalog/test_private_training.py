"""``flower-logistic`` with differential privacy: what is spent, by accountant and oracle, and what is told."""

from __future__ import annotations

import json
import math
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
from tests.support.tool_programs import ToolProgram
from tests.tool_catalog.test_flower_logistic import Training, _all_join

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


def test_result_says_what_was_spent_and_the_oracle_agrees(training: Training, data: Path, write_json: Write) -> None:
    parameters = write_json("parameters.json", PRIVATE)
    training.serve(parameters)
    _all_join(training, data, parameters)
    code, errors = training.ended()
    assert (code, errors) == (0, "")
    result = training.result()
    told = result["model"]["privacy"]
    assert told["steps"] == 5 * (5 + 1)
    assert (told["delta"], told["clip"]) == (1e-5, 1.0)
    assert 3.999999 < told["epsilon"] <= 4.0
    assert told["train_rows"] == result["rounds"][0]["train_rows"]
    assert delta_of(4.0, told["noise_multiplier"], told["steps"]) <= 1e-5
    assert delta_of(told["epsilon"] * 0.995, told["noise_multiplier"], told["steps"]) > 1e-5, "more noise than needed"
    assert result["rounds"][-1]["accuracy"] > 0.7, "it learns all the same"
    model = np.load(training.output / "model.npz")
    assert np.allclose(model["mean"], [17.5, 25, 0.125])
    assert np.allclose(model["scale"], [12.5, 20, 0.125])


ASK = """
import json, sys
from private_averaging.budget import Budget
for epsilon, delta, steps in json.loads(sys.argv[1]):
    budget = Budget(epsilon, delta, 1.0, steps)
    noise = budget.multiplier()
    print(json.dumps([noise, budget.spent(noise), budget.spent(float(sys.argv[2]))]))
"""
CASES = [(1.0, 1e-5, 1), (2.0, 1e-6, 30), (8.0, 1e-5, 1000)]


def test_noise_is_the_least_that_the_oracle_allows(flower: ToolProgram) -> None:
    command = [*flower.python, "-c", ASK, json.dumps(CASES), "3.730632"]
    source = flower.folder / "source"
    ended = subprocess.run(command, cwd=source, env=flower.variables(), capture_output=True, text=True, check=True)
    found = [json.loads(line) for line in ended.stdout.splitlines()]
    for (epsilon, delta, steps), (noise, spent, _) in zip(CASES, found, strict=True):
        assert spent <= epsilon
        assert delta_of(epsilon, noise, steps) <= delta
        assert delta_of(epsilon, noise * 0.99, steps) > delta
    assert found[0][0] == pytest.approx(3.730632, abs=2e-3), "the known value of Balle and Wang's calibration"
    assert found[0][2] == pytest.approx(1.0, abs=1e-3)

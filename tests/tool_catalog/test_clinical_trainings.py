"""``flower-clinical`` and ``substra-clinical``: near the pooled fit as far as averaging goes, and how they end."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tests.support.pooling_runs import write_dataset
from tests.support.rounds_runs import RoundsRun
from tests.support.tool_programs import ToolProgram

from fedproc.demo.data import SHARES

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
"""The environments of the tools are built from their lock files once, which can take minutes."""

FORMULA = "blood_pre ~ PM25 + age + sex + cbmi"
TERMS = ("Intercept", "PM25", "age", "sex[T.male]", "cbmi")
POOLED = (74.49775, 37.75120, 0.15751, 0.28270, -0.01247)
SUBSTRA = (75.0186, 41.8923, -1.2791, 0.2328, 0.0283)
"""as the demonstrator's three sites gave them"""

CATALOGUE = Path(__file__).parents[2] / "tool_catalog"
Start = Callable[..., RoundsRun]


@pytest.fixture
def start(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Start]:
    """Makes runs of a tool over datasets by host."""
    made: list[RoundsRun] = []

    def make(tool: str, datasets: dict[str, Path]) -> RoundsRun:
        program: ToolProgram = request.getfixturevalue(f"{tool}_clinical")
        made.append(RoundsRun(program, datasets, tmp_path / f"run-{len(made)}"))
        return made[-1]

    yield make
    for run in made:
        run.close()


@pytest.fixture
def tables(tmp_path: Path) -> dict[str, pd.DataFrame]:
    """A cohort at each host: a number ``y`` that follows from a number ``a`` and a category ``c``."""
    chance = np.random.default_rng(7)
    found = {}
    for number, host in enumerate(SHARES):
        rows = 40 + 10 * number
        table = pd.DataFrame({"a": chance.normal(number, 1, rows), "c": chance.choice(["f", "m"], rows)})
        found[host] = table.assign(y=120 + 3 * table["a"] + 5 * (table["c"] == "m") + chance.normal(0, 2, rows))
    return found


@pytest.fixture
def cohorts(tables: dict[str, pd.DataFrame], tmp_path: Path) -> dict[str, Path]:
    """Those as datasets."""
    columns = [
        {"name": "a", "type": "number"},
        {"name": "c", "type": "category", "values": ["f", "m"]},
        {"name": "y", "type": "number"},
    ]
    return {host: write_dataset(tmp_path / host, columns, table.to_numpy().tolist()) for host, table in tables.items()}


def _fit(table: pd.DataFrame) -> np.ndarray:
    columns = np.column_stack([np.ones(len(table)), table["a"], table["c"] == "m"]).astype(float)
    return np.linalg.lstsq(columns, table["y"], rcond=None)[0]


def _values(result: dict[str, Any]) -> list[float]:
    return list(result["model"]["coefficients"].values())


def test_one_step_a_round_is_gradient_descent_on_all_rows_and_reaches_the_pooled_fit(
    start: Start, cohorts: dict[str, Path], tables: dict[str, pd.DataFrame]
) -> None:
    run = start("flower", cohorts)
    result = run.run(formula="y ~ a + c", rounds=40, local_steps=1, learning_rate=0.8)
    assert _values(result) == pytest.approx(_fit(pd.concat(tables.values())), rel=1e-6)
    losses = [entry["loss"] for entry in result["rounds"]]
    assert all(after <= before * (1 + 1e-12) for before, after in pairwise(losses))
    assert all(entry["replied"] == sorted(SHARES) for entry in result["rounds"])
    told = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    assert [(entry["round"], entry["loss"]) for entry in told] == list(enumerate(losses, 1))
    model = np.load(run.output / "model.npz", allow_pickle=False)
    assert model["terms"].tolist() == list(result["model"]["coefficients"]) == ["Intercept", "a", "c[T.m]"]
    assert model["coefficients"].tolist() == _values(result)


def test_substras_plan_averages_the_sites_fits_by_their_rows(
    start: Start, cohorts: dict[str, Path], tables: dict[str, pd.DataFrame]
) -> None:
    run = start("substra", cohorts)
    result = run.run(formula="y ~ a + c")
    fits = [_fit(table) for table in tables.values()]
    assert _values(result) == pytest.approx(
        np.average(fits, axis=0, weights=[len(t) for t in tables.values()]), rel=1e-9
    )
    assert {entry["host"]: entry["n"] for entry in result["hosts"]} == {host: len(t) for host, t in tables.items()}
    assert "not a Substra network" in result["platform"]
    assert [entry["round"] for entry in result["rounds"]] == [1]


@pytest.mark.parametrize(("tool", "file"), [("flower", "flower_clinical"), ("substra", "substra_clinical")])
def test_the_example_gives_the_example_output(start: Start, tool: str, file: str) -> None:
    example = CATALOGUE / file / "test"
    run = start(tool, {"UB": example / "example_input/client/input/cohort"})
    result = run.run(**json.loads((example / "example_input/server/parameters.json").read_text()))
    expected = json.loads((example / "example_output/server/result.json").read_text())
    assert _values(result) == pytest.approx(_values(expected), rel=1e-9)
    assert result.keys() == expected.keys()


BOUNDS = {"a": [-5, 9], "y": [90, 160]}


def test_persons_are_protected_and_hosts_are_averaged_by_masks_where_both_are_asked_for(
    start: Start, cohorts: dict[str, Path], tables: dict[str, pd.DataFrame]
) -> None:
    run = start("flower", cohorts)
    result = run.run(
        formula="y ~ a + c", rounds=2, local_steps=20, learning_rate=0.8, bounds=BOUNDS, clip=0.5,
        epsilon=20, delta=1e-5, secure_aggregation=True, join_seconds=280, round_seconds=200,
    )  # fmt: skip
    persons = sum(len(table) for table in tables.values())
    told = result["model"]["privacy"]
    assert (told["train_rows"], told["steps"], told["clip"], told["delta"]) == (persons, 2 * (20 + 1), 0.5, 1e-5)
    assert 19.9999 < told["epsilon"] <= 20
    assert result["rounds"][-1]["train_rows"] == persons
    assert 0 <= result["rounds"][-1]["loss"] < 35**2, "of the outcome's unit, squared"
    columns, fitted = pd.concat(tables.values()), _values(result)
    expected = fitted[0] + fitted[1] * columns["a"] + fitted[2] * (columns["c"] == "m")
    assert np.mean((expected - columns["y"]) ** 2) < columns["y"].var() * 4, "it is no nonsense"


PERSONS = """
import sys
from pathlib import Path
import numpy as np
import main
from private_averaging import noise
from request import read_request
noise.normal = np.zeros
request = read_request(Path(sys.argv[2]))
learner = main._learner(Path(sys.argv[1]), request)
assert learner.rows == 30, "persons, not rows"
moments = learner.moments()
assert (moments.n, moments.mean.tolist(), moments.deviation().tolist()) == (30, [5, 20], [5, 20])
model = [np.array([0.3]), np.array([-0.2]), moments.mean, moments.deviation()]
found = learner.train(model, 1)
number = np.arange(60)
a, y = np.minimum(number % 7 * 2.0, 10) / 5 - 1, (number % 11) * 4.0 / 20 - 1
error = 0.3 * a - 0.2 - y
each = np.column_stack([a * error, error]).reshape(30, 2, 2).mean(axis=1)  # of two rows each
lengths = np.linalg.norm(each, axis=1)
assert (lengths > 0.4).any() and (lengths < 0.4).any()
step = (each * np.minimum(1, 0.4 / lengths)[:, None]).mean(axis=0)
np.testing.assert_allclose([found[0][0], found[1][0]], [0.3 - 0.1 * step[0], -0.2 - 0.1 * step[1]], rtol=1e-12)
loss = np.minimum(error**2, 4).reshape(30, 2).mean() * 20**2
np.testing.assert_allclose(learner.measure(model).loss, loss, rtol=1e-12)
odd = [np.array([1e308]), np.zeros(1), np.zeros(2), np.array([1e-308, 1.0])]
found = learner.train(odd, 2)
assert found[0][0] == 1e308 and found[1][0] == 0, "what cannot be computed of a person moves nothing"
print("equal")
"""


def test_gradients_are_clipped_by_person_and_values_by_bounds(flower_clinical: ToolProgram, tmp_path: Path) -> None:
    columns = [{"name": "a", "type": "number"}, {"name": "y", "type": "number"}, {"name": "who", "type": "text"}]
    rows = [[number % 7 * 2.0, (number % 11) * 4.0, f"P{number // 2}"] for number in range(60)]
    datasets = write_dataset(tmp_path / "UB", columns, rows)
    (described,) = datasets.glob("*/dataset.json")
    described.write_text(json.dumps(json.loads(described.read_text()) | {"person": "who"}))
    parameters = tmp_path / "parameters.json"
    asked = {"formula": "y ~ a", "rounds": 2, "local_steps": 1, "learning_rate": 0.1, "clip": 0.4}
    parameters.write_text(json.dumps(asked | {"epsilon": 1, "delta": 1e-5, "bounds": {"a": [0, 10], "y": [0, 40]}}))
    variables = {**flower_clinical.variables(), "PYTHONPATH": str(flower_clinical.folder / "source")}
    command = [*flower_clinical.python, "-c", PERSONS, datasets, parameters]
    ended = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=300, check=False)
    assert (ended.stdout.strip(), ended.returncode) == ("equal", 0), ended.stderr


def test_the_demonstrators_numbers_come_out(start: Start, clinical: dict[str, Path]) -> None:
    """Substra's to all published digits; what averaging with Flower is from the pooled answer is said, not hidden."""
    substra = start("substra", clinical).run(formula=FORMULA, missing="leave_out")
    assert list(substra["model"]["coefficients"]) == list(TERMS)
    assert [round(value, 4) for value in _values(substra)] == list(SUBSTRA)
    assert substra["n"] == 107
    flower = start("flower", clinical).run(
        formula=FORMULA, missing="leave_out", rounds=40, local_steps=1, learning_rate=0.5
    )
    assert _values(flower) == pytest.approx(POOLED, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("tool", ["flower", "substra"])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_a_host_that_is_lost_ends_the_training_and_is_named(
    start: Start, cohorts: dict[str, Path], tool: str, how: signal.Signals
) -> None:
    run = start(tool, cohorts)
    waits = {"round_seconds": 3, "rounds": 1000} if tool == "flower" else {"task_seconds": 8, "rounds": 20}
    run.ask(formula="y ~ a + c", **waits)
    run.serve()
    for host in cohorts:
        run.join(host)
    assert run.server is not None
    assert run.server.stdout is not None
    assert any("round 1:" in line for line in run.server.stdout)
    run.clients["BSC"].send_signal(how)
    code, errors = run.ended()
    assert code == 3
    assert "BSC" in errors
    assert "Traceback" not in errors
    result = json.loads((run.output / "result.json").read_text())
    assert result["status"] == "failed"
    assert not (run.output / "model.npz").exists()
    for host in ("UB", "FORTH"):
        code, errors = run.ended(host)
        assert code == 3, errors


REFUSED = {
    "formula: it must have an intercept": {"formula": "y ~ a - 1"},
    "formula: cannot be read at": {"formula": "y ~ I(a > 3)"},
    "rounds: must be a whole number from 1": {"formula": "y ~ a", "rounds": 0},
    "fewer than 60 persons (min_cell)": {"formula": "y ~ a", "min_cell": 60},
    "expected a column 'b'": {"formula": "y ~ b"},
    "unknown rows": {"formula": "y ~ a", "rows": True},
}
HALF = {
    "epsilon and delta: differential privacy needs both": {"formula": "y ~ a", "epsilon": 1},
    "each number needs the [lowest, highest]": {
        "formula": "y ~ a + c",
        "secure_aggregation": True,
        "bounds": {"a": [0, 1]},
    },
    "missing: with epsilon no rows": {"formula": "y ~ a", "epsilon": 1, "delta": 1e-5, "missing": "leave_out"},
}


@pytest.mark.parametrize(("tool", "refused"), [("flower", REFUSED | HALF), ("substra", REFUSED)])
def test_what_cannot_be_met_is_refused_at_the_site(
    start: Start, cohorts: dict[str, Path], tool: str, refused: dict[str, dict[str, Any]]
) -> None:
    ended = start(tool, cohorts).refusals("UB", list(refused.values()))
    for message, (code, errors) in zip(refused, ended, strict=True):
        assert (code, message in errors, "Traceback" in errors) == (2, True, False), (message, errors)

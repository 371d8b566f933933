"""``flower-clinical`` and ``substra-clinical``: near the pooled fit as far as averaging goes, and how they end."""

from __future__ import annotations

import json
import signal
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

Start = Callable[..., RoundsRun]


@pytest.fixture
def start(flower_clinical: ToolProgram, substra_clinical: ToolProgram, tmp_path: Path) -> Iterator[Start]:
    """Makes runs of a tool over datasets by host."""
    made: list[RoundsRun] = []

    def make(tool: str, datasets: dict[str, Path]) -> RoundsRun:
        program = {"flower": flower_clinical, "substra": substra_clinical}[tool]
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
def test_the_example_gives_the_example_output(start: Start, flower_clinical: ToolProgram, tool: str, file: str) -> None:
    example = flower_clinical.folder.parent / file / "test"
    run = start(tool, {"UB": example / "example_input/client/input/cohort"})
    result = run.run(**json.loads((example / "example_input/server/parameters.json").read_text()))
    expected = json.loads((example / "example_output/server/result.json").read_text())
    assert _values(result) == pytest.approx(_values(expected), rel=1e-9)
    assert result.keys() == expected.keys()


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


@pytest.mark.parametrize("tool", ["flower", "substra"])
@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"formula": "y ~ a - 1"}, "formula: it must have an intercept"),
        ({"formula": "y ~ I(a > 3)"}, "formula: cannot be read at"),
        ({"formula": "y ~ a", "rounds": 0}, "rounds: must be a whole number from 1"),
        ({"formula": "y ~ a", "min_cell": 60}, "fewer than 60 persons (min_cell)"),
        ({"formula": "y ~ b"}, "expected a column 'b'"),
        ({"formula": "y ~ a", "rows": True}, "unknown rows"),
    ],
)
def test_what_cannot_be_met_is_refused_at_the_site(
    start: Start, cohorts: dict[str, Path], tool: str, parameters: dict[str, Any], message: str
) -> None:
    run = start(tool, cohorts)
    run.ask(**parameters)
    run.join("UB")
    code, errors = run.ended("UB")
    assert code == 2
    assert message in errors
    assert "Traceback" not in errors

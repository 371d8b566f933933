"""``fedbiomed-clinical``: Fed-BioMed itself, a researcher and a node at each host, where its environment is at hand."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.support.fedbiomed_runs import OPTIONAL, Start, starting
from tests.support.pooling_runs import write_dataset

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

EXAMPLE = OPTIONAL / "fedbiomed_clinical/test"
FORMULA = "blood_pre ~ PM25 + age + sex + cbmi"
POOLED = (74.49775, 37.75120, 0.15751, 0.28270, -0.01247)
STANDARDS = {
    "PM25": [1.1655, 0.037987],
    "sex[T.male]": [0.52336, 0.49945],
    "age": [4.2187, 0.15293],
    "cbmi": [16.213, 1.621],
}


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    monkeypatch.chdir(tmp_path)  # where a task makes its components
    with starting("fedbiomed_clinical", tmp_path) as make:
        yield make


@pytest.fixture
def cohorts(tmp_path: Path) -> dict[str, Path]:
    """Sixty persons at each of two hosts, with ``y`` near 3 + 2 a."""
    chance = np.random.default_rng(7)
    columns = [{"name": name, "type": "number"} for name in ("a", "y")]
    found = {}
    for host in ("UB", "BSC"):
        values = chance.normal(0, 1, 60)
        rows = np.column_stack([values, 3 + 2 * values + chance.normal(0, 0.1, 60)]).tolist()
        found[host] = write_dataset(tmp_path / host, columns, rows)
    return found


def test_it_trains_and_says_so_by_round_and_host(start: Start, cohorts: dict[str, Path]) -> None:
    run = start(cohorts)
    result = run.run(formula="y ~ a", rounds=3, updates=200, learning_rate=0.1)
    assert (result["status"], result["n"], len(result["rounds"])) == ("ok", 120, 3)
    assert list(result["model"]["coefficients"].values()) == pytest.approx([3, 2], abs=0.1)
    told = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    assert [(entry["round"], entry["hosts"]) for entry in told] == [(1, 2), (2, 2), (3, 2)]
    for host in cohorts:
        losses = [json.loads(line)["loss"] for line in run.measures(host).read_text().splitlines()]
        assert len(losses) == 3
        assert losses[2] < losses[0] / 10
    model = np.load(run.output / "model.npz", allow_pickle=False)
    assert model["coefficients"].tolist() == list(result["model"]["coefficients"].values())


def test_the_example_gives_the_example_output(start: Start) -> None:
    run = start({"UB": EXAMPLE / "example_input/client/input/cohort"})
    result = run.run(**json.loads((EXAMPLE / "example_input/server/parameters.json").read_text()))
    expected = json.loads((EXAMPLE / "example_output/server/result.json").read_text())
    found, known = (list(each["model"]["coefficients"].values()) for each in (result, expected))
    assert found == pytest.approx(known, rel=0.05, abs=0.5)  # Fed-BioMed deals rows out by chance
    assert result.keys() == expected.keys()


def test_the_demonstrators_numbers_come_out(start: Start, clinical: dict[str, Path]) -> None:
    """Of this version of Fed-BioMed, whose rows are dealt out by chance: away from the pooled answer, and not far."""
    result = start(clinical).run(formula=FORMULA, missing="leave_out", rounds=20, standards=STANDARDS)
    intercept, pm25, *_ = result["model"]["coefficients"].values()
    assert pm25 == pytest.approx(39.3, abs=1.5)
    assert intercept == pytest.approx(POOLED[0], abs=2.0)
    assert result["n"] == 107


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_a_host_that_is_lost_ends_the_training_and_is_named(
    start: Start, cohorts: dict[str, Path], how: signal.Signals
) -> None:
    run = start(cohorts)
    run.ask(formula="y ~ a", rounds=200, updates=100, join_seconds=60, round_seconds=20)
    run.serve()
    for host in cohorts:
        run.join(host)
    assert run.server is not None
    assert run.server.stdout is not None
    assert any("round 1:" in line for line in run.server.stdout)
    run.clients["BSC"].send_signal(how)
    code, errors = run.ended()
    assert code == 3, errors
    assert "BSC" in errors.splitlines()[-1]
    assert json.loads((run.output / "result.json").read_text())["status"] == "failed"
    assert not (run.output / "model.npz").exists()


def test_a_researcher_that_asks_for_another_training_gets_nothing(start: Start, cohorts: dict[str, Path]) -> None:
    """Its server was started with other parameters than the hosts: more steps than they agreed to."""
    run = start(cohorts)
    run.ask(formula="y ~ a", rounds=2, updates=300, join_seconds=60, round_seconds=20)
    run.serve()
    run.ask(formula="y ~ a", rounds=2, updates=200, join_seconds=60, round_seconds=20)
    for host in cohorts:
        run.join(host)
    for host in cohorts:
        code, errors = run.ended(host)
        assert code == 3, errors
        assert "other training_args than was agreed: " in errors.splitlines()[-1]
        assert not run.measures(host).read_text()
    code, errors = run.ended()
    assert code == 3, errors
    assert not (run.output / "model.npz").exists()

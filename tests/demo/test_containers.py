"""What ``make federation`` does one after the other, and side by side."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from fedproc.common.errors import FedprocError
from fedproc.demo import containers
from fedproc.demo.containers import Steps

pytestmark = pytest.mark.process


@pytest.fixture
def steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Steps:
    monkeypatch.setattr(containers, "ROOT", tmp_path)
    return Steps(Console(file=io.StringIO(), force_terminal=True), tmp_path / "log")


@pytest.mark.process
def test_a_program_that_fails_says_its_last_words_and_where_the_rest_is(steps: Steps) -> None:
    with pytest.raises(FedprocError, match=r"(?s)fatal: \\\[UB\]: no disk.*central failed.*log/central\.log"):
        steps.run("central", "sh", "-c", "echo 'TASK [x]'; echo 'fatal: [UB]: no disk'; exit 2")


@pytest.mark.process
def test_what_runs_side_by_side_is_waited_for_though_one_fails(steps: Steps, tmp_path: Path) -> None:
    done = tmp_path / "done"
    with pytest.raises(FedprocError, match="central failed"):
        steps.side_by_side(
            lambda: steps.run("central", "false"),
            lambda: steps.run("prepare", "sh", "-c", f"echo 'TASK [a]'; sleep 0.3; touch {done}"),
        )
    assert done.exists()
    assert (tmp_path / "log/prepare.log").read_text() == "TASK [a]\n"


@pytest.fixture
def tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for number in (1, 2, 3):
        (tmp_path / f"z3_{number}.csv").write_text("age\n4\n")
    monkeypatch.setenv("DATA", str(tmp_path))
    monkeypatch.setattr(containers, "FOLDER", tmp_path / "federation")
    return tmp_path


def test_tables_that_are_given_are_looked_at_before_a_machine_is_made(steps: Steps, tables: Path) -> None:
    containers._choose_data(steps)
    assert steps.environment["DATA"] == str(tables)
    (tables / "z3_3.csv").unlink()
    with pytest.raises(FedprocError, match=r"no z3_3\.csv"):
        containers._choose_data(steps)


def test_hospitals_that_have_other_tables_already_are_not_given_these_unsaid(steps: Steps, tables: Path) -> None:
    made = tables / "federation/files/data/UB/clinical"
    made.mkdir(parents=True)
    (made / "dataset.json").write_text('{"description": "SYNTHETIC"}')
    with pytest.raises(FedprocError, match="make federation-down"):
        containers._choose_data(steps)

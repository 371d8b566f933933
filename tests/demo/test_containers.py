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

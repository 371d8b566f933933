"""A tool provider's loop: a change is offered in the running federation within seconds, and the newest runs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from tests.support.running import ROOT, Running

from fedproc.client.results import fetch_results
from fedproc.common.errors import InvalidInputError
from fedproc.demo.trying import offer_tools

pytestmark = pytest.mark.needs_federation


def test_changed_tool_is_offered_and_runs(running: Running, tmp_path: Path) -> None:
    tool = shutil.copytree(ROOT / "docs/examples/row_count", tmp_path / "tools" / "row_count")
    told: list[str] = []
    [same] = offer_tools(running.federation, tool.parent, told.append)
    assert told == ["row-count 1.0.0 is there as it is"]
    source = tool / "count.py"
    source.write_text(source.read_text().replace('answer = {"rows": rows}', 'answer = {"rows": rows + 1000}'))
    [changed] = offer_tools(running.federation, tool, told.append)
    assert changed.tool.version.startswith("1.0.1-dev.")
    experiment = running.start("row-count", datasets=["UB:breast-cohort"])
    assert running.end(experiment)[-1].state == "succeeded"
    assert running.researcher.experiment(experiment.id).version == changed.tool.version
    fetch_results(running.researcher, experiment.id, tmp_path / "results")
    assert json.loads((tmp_path / "results/EUCAIM/total.json").read_bytes())["rows"] > 1000
    assert same.tool.version == "1.0.0"


def test_folder_without_a_tool_is_told(running: Running, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="holds no tool"):
        offer_tools(running.federation, tmp_path, print)

"""Which tools a federation of the demo offers."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from fedproc.demo import scenario
from fedproc.demo.federation import Federation

CATALOGUE = Path(__file__).parents[2] / "tool_catalog"


def _offered(tmp_path: Path, only: frozenset[str] | None) -> set[str]:
    federation = Federation(tmp_path / "demo", tmp_path / "cache", [CATALOGUE], only=only)
    return {manifest.tool.id for _, manifest in federation._tools()}


@pytest.mark.slow
def test_a_federation_that_is_left_running_offers_the_whole_catalogue(tmp_path: Path) -> None:
    assert _offered(tmp_path, None) > {*scenario.TOOLS, "linear-regression", "logistic-regression", "cox-regression"}


@pytest.mark.slow
def test_the_demos_own_offers_what_it_runs_and_makes_nothing_ready_beside(tmp_path: Path) -> None:
    assert _offered(tmp_path, scenario.TOOLS) == scenario.TOOLS


def test_each_tool_that_the_demo_runs_is_offered() -> None:
    assert set(re.findall(r'tool="([^"]+)"', inspect.getsource(scenario))) == scenario.TOOLS

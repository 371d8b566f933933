"""What the analyses send from a site, by the rules of the host: it passes as declared, and rows in its place do not."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from fedproc.catalog.folder import load_tool
from fedproc.contract.tool.task import OutputDecl
from fedproc.site.policy.engine.engine import inspect
from fedproc.site.policy.engine.known import Known
from fedproc.site.policy.engine.strict_json import scalars

pytestmark = pytest.mark.slow


CATALOGUE = Path(__file__).parents[2] / "tool_catalog"
ROWS = [[float(row), 1.0, 52.0] for row in range(60)]
SENT = {"linear_regression": ("sums", "sums.json"), "kaplan_meier": ("events", "events.json")}
"""output and file of each tool's task at a site"""


@cache
def _declared(tool: str) -> OutputDecl:
    found = load_tool(CATALOGUE / tool).tool.task("local").output(SENT[tool][0])
    assert found is not None
    return found


def _example(tool: str) -> dict[str, Any]:
    path = CATALOGUE / tool / "test/example_output/local" / SENT[tool][1]
    read: dict[str, Any] = json.loads(path.read_text())
    return read


def _found(tool: str, answer: dict[str, Any], folder: Path, floor: int = 10) -> dict[str, str]:
    """Rules and what they say, where a host has this floor."""
    (folder / SENT[tool][1]).write_text(json.dumps(answer))
    example = CATALOGUE / tool / "test/example_input/local"
    described = json.loads((example / "input/cohort/example/dataset.json").read_text())
    parameters = json.loads((example / "parameters.json").read_text())
    steps = [200.0 * number for number in range(6)]
    asked = load_tool(CATALOGUE / tool).tool.parameters["properties"]
    usual = {name: schema["default"] for name, schema in asked.items() if "default" in schema}
    known = {
        "parameters": lambda: scalars(usual | parameters),
        "dataset": lambda: scalars([described, "example"]),
        "order": lambda: ["UB", "EUCAIM"],
        "steps": lambda: steps,
    }
    return {each.rule.id: each.result.value for each in inspect(_declared(tool), folder, floor, Known(known))}


def test_sums_pass_the_rules_of_the_host_by_what_they_declare(tmp_path: Path) -> None:
    assert _found("linear_regression", _example("linear_regression"), tmp_path) == {}


def test_a_site_with_a_higher_floor_than_the_tools_refuses_the_sums(tmp_path: Path) -> None:
    answer = _example("linear_regression")
    found = _found("linear_regression", answer, tmp_path, floor=answer["smallest_group"] + 1)
    assert found["persons.floor"] == "refuse"


@pytest.mark.parametrize(
    "edit",
    [
        lambda a: a.update(rows=ROWS),
        lambda a: a.update(terms=ROWS),
        lambda a: a["terms"].__setitem__(0, {"n": 120, "mean": ROWS, "sum_of_squares": 1.0}),
        lambda a: a["pairs"][0].update(product="17.3"),
        lambda a: a["columns"][0].update(unit="Maria Ortiz, 1951"),
        lambda a: a["request"].update(formula="id063,120.5"),
    ],
)
def test_rows_in_the_place_of_sums_are_refused_by_the_host(
    tmp_path: Path, edit: Callable[[dict[str, Any]], Any]
) -> None:
    answer = _example("linear_regression")
    edit(answer)
    assert "refuse" in _found("linear_regression", answer, tmp_path).values()


@pytest.mark.parametrize(
    "edit",
    [
        lambda a: a.update(times=[63.0, 71.5]),
        lambda a: a["groups"][0]["rows"][0].update(to=63.25),
        lambda a: a["groups"][0]["rows"][0].update(events=1),
        lambda a: a["groups"][0].update(variance=ROWS),
        lambda a: a["groups"][0].update(group="Maria Ortiz"),
    ],
)
def test_times_in_the_place_of_counts_are_refused_by_the_host(
    tmp_path: Path, edit: Callable[[dict[str, Any]], Any]
) -> None:
    answer = _example("kaplan_meier")
    edit(answer)
    assert "refuse" in _found("kaplan_meier", answer, tmp_path, floor=5).values()


def test_counts_on_the_grid_are_not_refused_by_the_host(tmp_path: Path) -> None:
    """A person looks at them where nobody has an event in a bin, or few are left."""
    found = _found("kaplan_meier", _example("kaplan_meier"), tmp_path, floor=5)
    assert "refuse" not in found.values()

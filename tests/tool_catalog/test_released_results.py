"""The analyses' results by the rules of a host: the examples pass as declared, and what a liar would write does not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from fedproc.catalog.folder import load_tool
from fedproc.contract.tool.tool import Tool
from fedproc.site.policy.examples import Example, examples_of

CATALOGUE = Path(__file__).parents[2] / "tool_catalog"
POLICY = "policy.release"
RESULTS = {
    "linear_regression": "combine", "logistic_regression": "server", "cox_regression": "server",
    "kaplan_meier": "combine", "flower_clinical": "server", "substra_clinical": "server",
}  # fmt: skip
"""the task of each tool that writes result.json"""
FITTED = [name for name in RESULTS if name != "kaplan_meier"]
TRAINED = ("flower_clinical", "substra_clinical")
ROWS = [[float(row), 1.0, 52.0] for row in range(60)]

pytestmark = pytest.mark.slow


@cache
def _tool(name: str) -> Tool:
    return load_tool(CATALOGUE / name).tool


def _found(folder: Path, tool: str, output: str = "result") -> dict[str, str]:
    """Rules that say something of an output of the folder's examples, beside the site's policy."""
    (example,) = (e for e in examples_of(_tool(tool), folder) if (e.task, e.output.name) == (RESULTS[tool], output))
    return {each.rule.id: str(each.result) for each in example.findings or () if each.rule.id != POLICY}


@pytest.fixture
def edited(tmp_path: Path) -> Callable[[str, Callable[[dict[str, Any]], Any]], dict[str, str]]:
    """What the rules say once the example's result has been edited."""

    def edit(tool: str, change: Callable[[dict[str, Any]], Any]) -> dict[str, str]:
        shutil.copytree(CATALOGUE / tool / "test", tmp_path / "test", dirs_exist_ok=True)
        path = tmp_path / "test/example_output" / RESULTS[tool] / "result.json"
        document = json.loads(path.read_text())
        change(document)
        path.write_text(json.dumps(document))
        return _found(tmp_path, tool)

    return edit


def _coefficients(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = document.get("coefficients") or document["model"]["coefficients"]
    return found


@pytest.mark.parametrize("tool", RESULTS)
def test_result_passes_the_rules_by_what_it_declares(tool: str) -> None:
    assert _found(CATALOGUE / tool, tool) == {}


@pytest.mark.parametrize("name", sorted(path.parent.name for path in CATALOGUE.glob("*/tool.yaml")))
def test_examples_of_all_tools_are_refused_by_no_rule_and_declare_what_they_hold(name: str) -> None:
    found = list(examples_of(_tool(name), CATALOGUE / name))
    assert [each.output.name for each in found if each.output.content is None] == []
    assert [(each.output.name, str(each.result)) for each in found if _is_refused(each)] == []


def _is_refused(example: Example) -> bool:
    return example.findings is not None and str(example.result) == "refuse"


@pytest.mark.parametrize("tool", FITTED)
def test_name_of_a_person_is_no_term(tool: str, edited: Any) -> None:
    found = edited(tool, lambda d: _coefficients(d).update({"Maria Ortiz": _coefficients(d)["age"]}))
    assert found == {"read.schema": "refuse"}


@pytest.mark.parametrize("tool", [name for name in FITTED if name != "linear_regression"])
def test_name_of_a_person_as_category_waits(tool: str, edited: Any) -> None:
    """The aggregator does not know all categories of data elsewhere."""
    found = edited(tool, lambda d: _coefficients(d).update({"stage[T.Maria Ortiz]": _coefficients(d)["age"]}))
    assert found == {"read.elsewhere": "review"}


@pytest.mark.parametrize("tool", FITTED)
def test_rows_in_the_place_of_coefficients_are_refused(tool: str, edited: Any) -> None:
    assert edited(tool, lambda d: _coefficients(d).update(age=ROWS)) == {"read.schema": "refuse"}


@pytest.mark.parametrize("tool", FITTED)
def test_model_with_as_many_parameters_as_persons_is_refused(tool: str, edited: Any) -> None:
    def saturate(document: dict[str, Any]) -> None:
        one = _coefficients(document)["age"]
        joined = [f"{a}:{b}" for a in ("age", "stage[T.II]", "log(age)") for b in ("age", "stage[T.III]", "exp(age)")]
        terms = {f"{a}:{b}": one for a in joined for b in ("age", "I(age ** 2)", "I(age ** 3)", "sqrt(age)")}
        _coefficients(document).update({term: one for term in terms if term.count(":") < 3})

    found = edited(tool, saturate)
    assert found["model.parameters"] == "refuse"


@pytest.mark.parametrize("tool", FITTED)
@pytest.mark.parametrize(("n", "rule"), [(9, "persons.floor"), (13, "model.freedom"), (29, "model.parameters")])
def test_few_persons_are_refused(tool: str, n: int, rule: str, edited: Any) -> None:
    def lie(document: dict[str, Any]) -> None:
        for part in (document, document.get("model")):
            if isinstance(part, dict):
                part.update({name: n for name in ("n", "train_rows") if name in part})

    assert edited(tool, lie)[rule if len(_terms(tool)) > 3 else rule.replace("freedom", "parameters")] == "refuse"


def _terms(tool: str) -> dict[str, Any]:
    return _coefficients(
        json.loads((CATALOGUE / tool / "test/example_output" / RESULTS[tool] / "result.json").read_text())
    )


@pytest.mark.parametrize("tool", ["linear_regression", "logistic_regression", "cox_regression"])
def test_few_rows_left_out_are_refused(tool: str, edited: Any) -> None:
    assert edited(tool, lambda d: d["rows"][0].update(left_out=3))["persons.complement"] == "refuse"


@pytest.mark.parametrize("tool", ["logistic_regression", "cox_regression"])
@pytest.mark.parametrize("events", [3, 117])
def test_few_events_or_others_are_refused(tool: str, events: int, edited: Any) -> None:
    assert "refuse" in edited(tool, lambda d: d.update(events=events)).values()


@pytest.mark.parametrize("tool", RESULTS)
@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.update(patients=ROWS),
        lambda d: d.update(status="Maria Ortiz, 1951"),
        lambda d: d.update(schema_version=71),
        lambda d: d["hosts"].append({"host": "Maria Ortiz"}) if "hosts" in d else d["rounds"].append({}),
    ],
    ids=["rows", "status", "version", "host"],
)
def test_what_is_not_declared_is_refused(tool: str, change: Callable[[Any], Any], edited: Any) -> None:
    assert edited(tool, change) == {"read.schema": "refuse"}


@pytest.mark.parametrize(
    ("change", "result"),
    [
        (lambda d: d["curves"][0]["curve"][0].update(at_risk=9), "refuse"),
        (lambda d: d["curves"][0]["curve"][0].update(events=2), "refuse"),
        (lambda d: d["curves"][0]["curve"][0].update(time=871.0), "refuse"),
        (lambda d: d["curves"][0].update(group="Maria Ortiz"), "refuse"),
        (lambda d: d["curves"][0].update(persons=57), "refuse"),
        (lambda d: d["curves"][0]["median_survival"].update(persons=12), "refuse"),
        (lambda d: d["log_rank"].update(persons=4), "refuse"),
        (
            lambda d: d["curves"][0]["curve"].extend([{**d["curves"][0]["curve"][0], "at_risk": 13, "events": 3}]),
            "refuse",
        ),
    ],
    ids=["at risk", "events", "a time", "a name", "complement", "median", "test", "a second step"],
)
def test_curve_of_few_is_refused(change: Callable[[Any], Any], result: str, edited: Any) -> None:
    assert result in edited("kaplan_meier", change).values()


def test_curves_file_passes_and_rows_in_it_do_not(tmp_path: Path) -> None:
    assert _found(CATALOGUE / "kaplan_meier", "kaplan_meier", "curves") == {}
    shutil.copytree(CATALOGUE / "kaplan_meier/test", tmp_path / "test")
    path = tmp_path / "test/example_output/combine/curves.csv"
    written = path.read_text()
    lies = {
        written.replace("\nI,", "\nMaria Ortiz,"): "read.schema",
        written.replace(",51,", ",9,"): "persons.floor",
        written + "I,0.0,1000.5,44,10,10,0.4,0.01,0.1,0.5,0.2,0.5\n": "persons.complement",
    }
    for text, rule in lies.items():
        path.write_text(text)
        assert _found(tmp_path, "kaplan_meier", "curves")[rule] == "refuse"

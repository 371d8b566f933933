"""Names of columns in parameters are held against those of the chosen datasets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.support.books import HOSTS
from tests.support.sample_tools import task, tool

from fedproc.central.experiments.placement import HostFacts, plan
from fedproc.common.errors import InvalidInputError
from fedproc.contract.api.experiments import ExperimentRequest
from fedproc.contract.tool.tool import Tool

COLUMNS = {"age": "integer", "tumour_size": "number", "grade": "category", "time": "number"}
FORMULA = {"type": "string", "x-columns": "formula"}
PER_HOST = {"type": "string", "x-columns": "name", "x-scope": "host"}


def _known(**columns: dict[str, str]) -> dict[str, HostFacts]:
    return {
        host: HostFacts(
            host,
            True,
            frozenset(roles),
            {"cohort": "3", "other": "1"},
            columns={"cohort": columns.get(host)}.get,
        )
        for host, roles in HOSTS.items()
    }


def _tool(**properties: Any) -> Tool:
    reading = tool("reading", task("a", "client", inputs=[{"name": "table", "kind": "dataset"}]))
    parameters = {"type": "object", "properties": properties, "additionalProperties": False}
    return reading.model_copy(update={"parameters": parameters})


def _faults(asked: Tool, known: dict[str, HostFacts], **request: Any) -> list[dict[str, str]]:
    values = {"tool": asked.id, "datasets": ["UB:cohort", "BSC:cohort"], **request}
    try:
        plan(ExperimentRequest.model_validate(values), asked, known, "EUCAIM")
    except InvalidInputError as error:
        return list(error.detail["errors"])
    return []


def test_column_that_no_dataset_has_is_told_once_with_the_nearest() -> None:
    known = _known(UB=COLUMNS, BSC=COLUMNS)
    assert _faults(_tool(formula=FORMULA), known, parameters={"formula": "tumor_size ~ age"}) == [
        {
            "where": "parameters.formula",
            "what": "there is no column 'tumor_size' in UB:cohort, BSC:cohort; did you mean tumour_size?",
            "cure": "fedproc data show UB:cohort lists its columns",
        }
    ]
    assert _faults(_tool(formula=FORMULA), known, parameters={"formula": "tumour_size ~ log(age)"}) == []


def test_nearest_is_a_column_of_where_it_is_missing_and_never_the_name_itself() -> None:
    known = _known(UB=COLUMNS, BSC={"aged": "integer"})
    (fault,) = _faults(_tool(formula=FORMULA), known, parameters={"formula": "age"})
    assert fault["what"] == "there is no column 'age' in BSC:cohort; did you mean aged?"
    (fault,) = _faults(_tool(formula=FORMULA), known, parameters={"formula": "tumour_size"})
    assert fault["what"] == "there is no column 'tumour_size' in BSC:cohort"


def test_datasets_whose_columns_are_not_known_say_nothing() -> None:
    wrong = {"formula": "tumor_size ~ age"}
    assert _faults(_tool(formula=FORMULA), _known(), parameters=wrong) == []
    (only,) = _faults(_tool(formula=FORMULA), _known(BSC=COLUMNS), parameters=wrong)
    assert only["what"].startswith("there is no column 'tumor_size' in BSC:cohort;")
    with_another = ["UB:cohort", "UB:other"]
    assert _faults(_tool(formula=FORMULA), _known(UB=COLUMNS), parameters=wrong, datasets=with_another) == []


def test_default_names_a_column_too() -> None:
    (only,) = _faults(_tool(target={**FORMULA, "default": "malignant"}), _known(UB=COLUMNS))
    assert (only["where"], "'malignant'" in only["what"]) == ("parameters.target", True)


@pytest.mark.parametrize(("at_ub", "count"), [("age", 0), ("agee", 1)])
def test_parameter_of_one_host_is_held_against_its_own_columns(at_ub: str, count: int) -> None:
    known = _known(UB={"age": "integer"}, BSC={"edad": "integer"})
    given = {"UB": {"column": at_ub}, "BSC": {"column": "edad"}}
    assert len(_faults(_tool(column=PER_HOST), known, host_parameters=given)) == count


def test_column_of_a_type_that_the_tool_does_not_take_is_told_with_its_datasets() -> None:
    group = {"type": "string", "x-columns": "name", "x-column-types": ["category", "boolean"], "default": ""}
    known, asked = _known(UB=COLUMNS, BSC={**COLUMNS, "grade": "text"}), _tool(group=group)
    assert _faults(asked, known, parameters={"group": "age"}) == [
        {
            "where": "parameters.group",
            "what": "column 'age' is of type integer in UB:cohort, BSC:cohort; it must be category or boolean",
            "cure": "fedproc data show UB:cohort lists its columns",
        }
    ]
    (only,) = _faults(asked, known, parameters={"group": "grade"})
    assert only["what"] == "column 'grade' is of type text in BSC:cohort; it must be category or boolean"
    assert only["cure"] == "fedproc data show BSC:cohort lists its columns"
    assert _faults(asked, known) == []
    assert _faults(_tool(group={**group, "x-column-types": "odd"}), known, parameters={"group": "age"}) == []


def test_column_may_have_another_type_in_one_of_the_datasets_of_a_host() -> None:
    target = {"type": "string", "x-columns": "name", "x-column-types": ["number"]}
    known = _known()
    known["UB"] = replace(known["UB"], columns={"cohort": {"size": "number"}, "other": {"size": "text"}}.get)
    both = ["UB:cohort", "UB:other"]
    assert _faults(_tool(target=target), known, parameters={"target": "size"}, datasets=both) == []


def test_classes_of_a_column_that_is_no_number_are_told_and_an_unknown_column_once() -> None:
    name = {"type": "string", "x-columns": "name", "x-column-types": ["integer", "category"]}
    edges = {"type": "array", "x-column-of": "name", "x-column-types": ["number", "integer"]}
    entry = {"type": "object", "properties": {"name": name, "edges": edges}}
    asked = _tool(variables={"type": "array", "items": entry})
    known = _known(UB=COLUMNS, BSC=COLUMNS)

    def told(column: str) -> list[tuple[str, str]]:
        faults = _faults(asked, known, parameters={"variables": [{"name": column, "edges": [1, 2]}]})
        return [(each["where"], each["what"].partition(" in UB:")[0]) for each in faults]

    assert told("age") == []
    assert told("grade") == [("parameters.variables.0.edges", "column 'grade' is of type category")]
    assert told("grad") == [("parameters.variables.0.name", "there is no column 'grad'")]


GRID = {
    "examples": [{"step": 30, "end": 90}],
    "oneOf": [
        {
            "type": "object",
            "additionalProperties": False,
            "required": ["step", "end"],
            "properties": {"step": {"type": "number"}, "end": {"type": "number"}},
            "x-multiples": {"end": "step"},
        },
        {
            "type": "object",
            "additionalProperties": False,
            "required": ["points"],
            "properties": {"points": {"type": "array", "minItems": 1, "x-rising": True, "items": {"type": "number"}}},
        },
    ],
}


@pytest.mark.parametrize(
    ("grid", "where", "what"),
    [
        ({"points": [730, 365]}, ".points", "must rise, and 365 comes after 730"),
        ({"points": ["0..90"]}, ".points.0", 'must be a number, and is "0..90"'),
        ({"step": 30, "end": 100}, "", "end must be a multiple of step, and 100 is none of 30"),
        (
            {"step": 30},
            "",
            'must be {"end": a number, "step": a number} or {"points": a list, not empty, rising, each entry a number},'
            ' and is {"step": 30}',
        ),
    ],
)
def test_value_of_one_of_several_ways_is_told_what_is_wrong_within(grid: Any, where: str, what: str) -> None:
    (only,) = _faults(_tool(grid=GRID), _known(), parameters={"grid": grid})
    assert (only["where"], only["what"]) == (f"parameters.grid{where}", what)
    assert only["cure"].startswith("for example ")

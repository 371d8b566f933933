"""Which columns a tool's parameters name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fedproc.catalog.folder import load_tool
from fedproc.contract.tool.columns import named_columns, names_columns
from fedproc.contract.tool.values import example, expected

NAME, FORMULA = {"type": "string", "x-columns": "name"}, {"type": "string", "x-columns": "formula"}
VARIABLES = {"type": "array", "items": {"type": "object", "properties": {"name": NAME, "edges": {"type": "array"}}}}

OF = {"x-column-of": "name", "x-column-types": ["number"]}
CLASSES = {"properties": {"name": NAME, "edges": OF, "odd": {"x-column-of": []}}}


@pytest.mark.parametrize(
    ("schema", "value", "found"),
    [
        (NAME, "tumour size", [("", "tumour size")]),
        (NAME, "", []),
        (NAME, 3, []),
        ({"type": "string"}, "age", []),
        ({"type": "string", "x-columns": "of a later release"}, "age", []),
        ({"type": "array", "items": NAME}, ["a", "b"], [(".0", "a"), (".1", "b")]),
        (VARIABLES, [{"name": "age", "edges": [1]}, "odd", {}], [(".0.name", "age")]),
        ({"properties": {"f": FORMULA, "x": True}}, {"f": "y ~ a", "x": "b"}, [(".f", "y"), (".f", "a")]),
        (CLASSES, {"name": "grade", "edges": [1]}, [(".name", "grade"), (".edges", "grade")]),
        (CLASSES, {"name": "grade", "edges": []}, [(".name", "grade")]),
        (CLASSES, {"edges": [1]}, []),
        (True, "age", []),
        (None, {"a": 1}, []),
    ],
)  # fmt: skip
def test_columns_are_found_where_the_schema_has_them(schema: Any, value: Any, found: list[tuple[str, str]]) -> None:
    assert [column[:2] for column in named_columns(schema, value)] == found


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("tumour_size ~ age + grade:age - 1", ["tumour_size", "age", "grade"]),
        ("log(marker) ~ age * sex + I(age ** 2)", ["marker", "age", "sex"]),
        ("`tumour size` ~ log2 (`a`) + log10", ["tumour size", "a", "log10"]),
        ("größe~2", ["größe"]),
        ("~ ( ` ~", []),
    ],
)
def test_formula_names_its_columns_once_each(text: str, columns: list[str]) -> None:
    assert [column.name for column in named_columns(FORMULA, text)] == columns


@pytest.mark.parametrize(
    ("types", "taken"), [(["category", "boolean"], ("category", "boolean")), ("category", ()), ([1, "date"], ("date",))]
)
def test_named_column_comes_with_the_types_that_the_tool_takes(types: Any, taken: tuple[str, ...]) -> None:
    (only,) = named_columns({"properties": {"g": {**NAME, "x-column-types": types}}}, {"g": "grade"})
    assert only[:3] == (".g", "grade", taken)


def test_outcome_of_a_formula_has_types_of_its_own() -> None:
    schema = {**FORMULA, "x-column-types": ["category", "number"], "x-outcome-types": ["number"]}
    types = {column.name: column.types for column in named_columns(schema, "log(size) ~ grade")}
    assert types == {"size": ("number",), "grade": ("category", "number")}
    assert {column.types for column in named_columns(schema, "size + grade")} == {("category", "number")}


def test_schema_names_columns_at_any_depth() -> None:
    assert names_columns({"properties": {"variables": VARIABLES}})
    assert not names_columns({"properties": {"a": {"type": "string"}, "b": True}})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("folder", "values"),
    [
        ("cohort_statistics", {"time_column": "t", "event_column": "e", "variables": [{"name": "v"}]}),
        ("flower_logistic", {"target": "t", "features": ["f"]}),
        ("linear_regression", {"formula": "y ~ a"}),
        ("kaplan_meier", {"time_column": "t", "event_column": "e", "group": "g"}),
    ],
)
def test_tool_of_the_catalogue_says_which_parameters_name_columns(folder: str, values: dict[str, Any]) -> None:
    schema = load_tool(Path(__file__).parents[3] / "tool_catalog" / folder).tool.parameters
    found = {column.where.split(".")[1] for column in named_columns(schema, values)}
    assert found == values.keys()
    for name, each in schema["properties"].items():
        assert "^" not in expected(each, schema), name
        assert example(each, schema) not in ({"step": 1, "end": 1}, [{"name": "text"}]), name
        assert not each.get("examples") or example(each, schema) == each["examples"][0], name

"""A list as people write it is read as the list that the schema wants."""

from __future__ import annotations

from typing import Any

import pytest

from fedproc.contract.tool.lists import entries, example_list, fitted, listed, shown

NUMBERS = {"type": "array", "items": {"type": "number"}, "examples": [[0.5, 6]]}
TEXTS = {"type": "array", "items": {"type": "string"}}
GRID = {
    "examples": [{"step": 365, "end": 1825}, {"points": [30, 90, 365]}],
    "oneOf": [
        {"type": "object", "required": ["step", "end"], "properties": {"step": {"type": "number"}, "end": {}}},
        {"type": "object", "required": ["points"], "properties": {"points": NUMBERS}},
    ],
}
NAMED = {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}, "edges": NUMBERS}}
VARIABLES = {"type": "array", "items": NAMED}
EITHER = {"anyOf": [TEXTS, {"type": "string"}]}


@pytest.mark.parametrize(
    ("schema", "given", "value"),
    [
        (NUMBERS, "0, 6, 12, 24", [0, 6, 12, 24]),
        (NUMBERS, "0,6,1.5e3", [0, 6, 1500.0]),
        (NUMBERS, "0 6\n12", [0, 6, 12]),
        (NUMBERS, "0; 6; 12", [0, 6, 12]),
        (NUMBERS, "0,5; 1,5", ["0,5", "1,5"]),
        (NUMBERS, "6, twelve", [6, "twelve"]),
        (NUMBERS, 6, [6]),
        (NUMBERS, [1], [1]),
        (NUMBERS, True, True),
        (NUMBERS, "true, null", ["true", "null"]),
        (TEXTS, "age, tumour size", ["age", "tumour size"]),
        (TEXTS, "age", ["age"]),
        (TEXTS, "II, b\nIII", ["II, b", "III"]),
        (TEXTS, 7, ["7"]),
        (GRID, "30, 90, 365", {"points": [30, 90, 365]}),
        (GRID, {"step": 365, "end": 1825}, {"step": 365, "end": 1825}),
        (GRID, [30, 90], {"points": [30, 90]}),
        (VARIABLES, "age, tumour size", [{"name": "age"}, {"name": "tumour size"}]),
        (VARIABLES, [{"name": "age"}], [{"name": "age"}]),
        (VARIABLES, [7], [7]),
        ({"type": "array", "items": {"type": "object", "required": ["a", "b"]}}, "a, b", "a, b"),
        ({"type": "array", "items": {"type": "object", "required": [[]], "properties": {}}}, "a, b", "a, b"),
        (EITHER, "age, size", "age, size"),
        ({"type": "string"}, "a, b", "a, b"),
        ({"type": "array", "items": {"type": "object"}}, "a, b", "a, b"),
        (True, "a, b", "a, b"),
    ],
)
def test_list_is_read_where_one_is_wanted(schema: Any, given: Any, value: Any) -> None:
    assert fitted(schema, schema, given) == value


@pytest.mark.parametrize(
    "values", [["a", "b"], ["II, b"], ["a;b"], [" a "], [""], [], ["a\nb"], [1, 2.5], ["1", "x y"]]
)
def test_list_that_is_shown_is_read_as_it_was(values: list[Any]) -> None:
    text = shown(values)
    of_numbers = all(not isinstance(each, str) for each in values)
    assert text.startswith("[") or entries(text, of_numbers=of_numbers) == list(map(str, values))


def test_example_is_of_the_list_that_is_meant() -> None:
    assert (example_list(GRID, GRID), example_list(NUMBERS, NUMBERS)) == ("30, 90, 365", "0.5, 6")
    assert (example_list(TEXTS, TEXTS), example_list(EITHER, EITHER)) == ("text", "")


def test_odd_schemas_take_no_list() -> None:
    for odd in (None, [], {"oneOf": 7}, {"type": "array", "items": [1]}, {"type": ["array"]}, {"type": "object"}):
        assert listed(odd) is None

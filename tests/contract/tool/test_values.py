"""What a parameter wants is told in words, and by an example that is right."""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema import Draft202012Validator

from fedproc.contract.tool.values import default_text, example, expected, shown_example

GRID = {
    "oneOf": [
        {
            "type": "object",
            "required": ["step", "end"],
            "properties": {"step": {"type": "number", "exclusiveMinimum": 0}, "end": {"type": "number", "minimum": 5}},
        },
        {"type": "array", "minItems": 1, "maxItems": 400, "items": {"type": "number"}},
    ]
}


@pytest.mark.parametrize(
    ("schema", "text", "shown"),
    [
        ({"type": "integer", "minimum": 1, "maximum": 100}, "a whole number from 1 to 100", "1"),
        ({"type": "integer", "multipleOf": 5}, "a whole number, a multiple of 5", "5"),
        ({"type": "number", "exclusiveMinimum": 0, "maximum": 1}, "a number of 1 or less above 0", "1"),
        ({"type": ["number", "null"], "default": None}, "a number or null", "1"),
        ({"type": "boolean"}, "true or false", "true"),
        ({"enum": ["adam", "sgd"]}, 'one of "adam", "sgd"', "adam"),
        ({"const": 3}, "3", "3"),
        ({"type": "string", "minLength": 1, "maxLength": 9}, "text of 1 to 9 characters", "text"),
        ({"type": "string", "pattern": "^[0-9]+$"}, "text that matches ^[0-9]+$", ""),
        ({"type": "string", "pattern": "^[0-9]+$", "examples": ["42"]}, 'text, such as "42"', "42"),
        ({"type": "string", "pattern": "^[0-9]+$", "x-form": "digits"}, "text: digits", ""),
        ({"type": "array", "items": {"type": "integer"}}, "a list, each entry a whole number", "[1]"),
        (
            GRID,
            '{"step": a number above 0, "end": a number of 5 or more} or a list of 1 to 400 entries, '
            "each entry a number",
            '{"step": 1, "end": 5}',
        ),
        ({"anyOf": [{"type": "integer"}, {"const": "all"}]}, 'a whole number or "all"', "1"),
        ({"$ref": "#/$defs/share"}, "a number from 0 to 1", "0"),
        ({"$ref": "#/$defs/loop"}, "a list" + ", each entry a list" * 3 + ", each entry any value", ""),
        ({}, "any value", ""),
        (True, "any value", ""),
    ],
    ids=str,
)  # fmt: skip
def test_every_kind_of_value_has_its_words(schema: Any, text: str, shown: str) -> None:
    root = {
        "$defs": {
            "share": {"type": "number", "minimum": 0, "maximum": 1},
            "loop": {"type": "array", "items": {"$ref": "#/$defs/loop"}},
        }
    }
    assert expected(schema, root) == text
    assert shown_example(schema, root) == shown
    if (made := example(schema, root)) is not None:
        assert Draft202012Validator({**root, **schema}).is_valid(made)


def test_the_default_is_shown_as_it_is_typed() -> None:
    assert [default_text({"default": value}) for value in (10, "age", "", [], None)] == ["10", "age", '""', "[]", ""]

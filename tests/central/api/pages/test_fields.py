"""A form is made from a tool's schema, and what is typed into it becomes values of the schema's kinds."""

from __future__ import annotations

from typing import Any

import pytest

from fedproc.central.api.pages import fields

SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["target"],
    "properties": {
        "target": {"type": "string", "description": "column to predict"},
        "rounds": {"type": "integer", "minimum": 1, "maximum": 9, "default": 5},
        "rate": {"type": "number", "default": 0.1},
        "deep": {"type": "boolean", "default": True},
        "missing": {"enum": ["refuse", 7, None]},
        "features": {"type": "array", "items": {"type": "string"}},
        "sizes": {"type": "array", "items": {"type": "integer"}},
        "grid": {
            "oneOf": [
                {"type": "object", "properties": {"step": {"type": "number"}, "end": {"type": "number"}}},
                {"type": "object", "properties": {"points": {"type": "array", "items": {"type": "number"}}}},
            ],
            "examples": [{"step": 365, "end": 1825}, {"points": [30, 90, 365]}],
        },
        "options": {"type": "object", "properties": {"note": {"type": "string"}}},
        "threads": {"type": "integer", "x-scope": "host"},
    },
}
ASKED = fields.fields(SCHEMA, {})


def field(name: str, **given: str) -> fields.Field:
    return next(each for each in fields.fields(SCHEMA, given) if each.name == name)


def test_each_kind_of_schema_has_its_kind_of_field() -> None:
    assert {each.name: each.kind for each in fields.fields(SCHEMA, {})} == {
        "target": "text", "rounds": "number", "rate": "number", "deep": "select", "missing": "select",
        "features": "lines", "sizes": "lines", "grid": "json", "options": "json", "threads": "number",
    }  # fmt: skip


def test_a_field_says_what_is_valid_and_begins_with_the_default() -> None:
    rounds = field("rounds")
    assert rounds.value == "5"
    assert "from 1 to 9" in rounds.hint
    assert (rounds.attributes["min"], rounds.attributes["max"], rounds.attributes["step"]) == ("1", "9", "1")
    assert field("target").required
    assert field("deep").options == ("true", "false")


def test_what_was_typed_stays() -> None:
    assert field("rounds", rounds="many").value == "many"


@pytest.mark.parametrize(
    ("name", "typed", "value"),
    [
        ("rounds", "7", 7),
        ("rounds", "many", "many"),
        ("rate", "1e-3", 0.001),
        ("deep", "false", False),
        ("missing", "7", 7),
        ("missing", "null", None),
        ("missing", "refuse", "refuse"),
        ("features", "age\n\n size \r\n", ["age", "size"]),
        ("sizes", "1\n2\nx", [1, 2, "x"]),
        ("sizes", "0, 6, 12", [0, 6, 12]),
        ("sizes", "[0, 6]", [0, 6]),
        ("features", "age, size", ["age", "size"]),
        ("features", '["II, b"]', ["II, b"]),
        ("grid", "30, 90", {"points": [30, 90]}),
        ("grid", "[30, 90]", {"points": [30, 90]}),
        ("grid", '{"step": 5}', {"step": 5}),
        ("options", '{"note": "a"}', {"note": "a"}),
        ("target", " with blanks ", " with blanks "),
    ],
)
def test_texts_become_values(name: str, typed: str, value: object) -> None:
    assert fields.read(ASKED, {name: typed}) == ({name: value}, {})


def test_what_is_empty_or_as_the_default_is_not_sent() -> None:
    assert fields.read(ASKED, {"target": "  ", "rounds": "5", "deep": "true"}) == ({}, {})


def test_what_is_no_json_is_told() -> None:
    values, wrong = fields.read(ASKED, {"options": "{note"})
    assert values == {}
    assert wrong["options"].startswith("is not JSON")
    assert wrong["options"].endswith('; for example {"note": "text"}')


def test_list_is_asked_for_as_people_write_it() -> None:
    assert field("sizes").form == "with commas between, or one a line"
    assert field("grid").form == "as a list with commas between, or as JSON"
    assert field("grid").hint.endswith("; for example 30, 90, 365")


def test_names_that_the_schema_has_not_are_sent_for_the_api_to_refuse() -> None:
    assert fields.read(ASKED, {"round": "5"})[0] == {"round": "5"}


def test_values_of_an_earlier_experiment_come_back_as_they_were() -> None:
    values = {
        "target": "t",
        "rounds": 7,
        "deep": False,
        "features": ["a", "b, c"],
        "options": {"note": "ü"},
        "sizes": [1],
    }
    assert fields.read(ASKED, fields.texts(SCHEMA, values)) == (values, {})


def test_what_may_differ_by_host_is_asked_apart() -> None:
    assert [each.name for each in fields.fields(SCHEMA, {}, by_host=True)] == ["threads"]


def test_an_odd_schema_gives_a_form_all_the_same() -> None:
    odd: dict[str, Any] = {
        "type": "object",
        "properties": {"a": True, "b": {"$ref": "#/$defs/x"}, "c": {"type": ["string", "null"]}},
    }
    assert [each.kind for each in fields.fields(odd, {})] == ["json", "json"]


def test_by_host_the_default_is_a_value_as_any_other() -> None:
    asked = fields.fields(fields.without_defaults(SCHEMA), {})
    assert fields.read(asked, {"rounds": "5", "deep": "true", "rate": ""}) == ({"rounds": 5, "deep": True}, {})


@pytest.mark.parametrize("typed", ["nan", "-inf", "Infinity", "1_0", "0x10", "\u0661"])
def test_what_json_has_not_as_a_number_stays_a_text(typed: str) -> None:
    assert fields.read(ASKED, {"rate": typed, "rounds": typed}) == ({"rate": typed, "rounds": typed}, {})


@pytest.mark.parametrize(("name", "typed"), [("rate", "1e999"), ("rounds", "9" * 5000), ("sizes", "1\n1e999")])
def test_a_number_without_end_is_wrong(name: str, typed: str) -> None:
    assert "larger than any number" in fields.read(ASKED, {name: typed})[1][name]


@pytest.mark.parametrize(
    "typed", ["NaN", '{"a": -Infinity}', "[1e999]", "9" * 5000, '"\\ud800"', "[" * 50_000, "[" * 60 + "]" * 60]
)
def test_json_that_cannot_be_sent_is_wrong(typed: str) -> None:
    values, wrong = fields.read(ASKED, {"options": typed})
    assert (values, wrong["options"][:11]) == ({}, "is not JSON")

"""A manifest says what its outputs hold, in a place over which readers of the release before pass."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError
from tests.support.sample_tools import task, tool

from fedproc.catalog.signing import canonical_content, tool_digest
from fedproc.contract.tool.declared import problems_of
from fedproc.contract.tool.task import OutputDecl
from fedproc.contract.tool.tool import Manifest, Tool
from fedproc.contract.wire.jws import canonical

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}}
COUNT = {"type": "object", "additionalProperties": False, "required": ["n"], "properties": {"n": {"type": "integer"}}}
DECLARED: dict[str, Any] = {
    "content": {"type": "json", "json_schema": COUNT},
    "statistics": [{"statistic": "frequencies", "persons": "n"}],
}
OUTPUT = {"name": "counts", "path": "counts.json", "disclosure": "aggregate"}


def declaring(schema: Any, *, disclosure: str = "aggregate", **more: Any) -> tuple[str, ...]:
    made = {**OUTPUT, "disclosure": disclosure, "content": {"type": "json", "json_schema": schema}, **more}
    return problems_of(OutputDecl.model_validate(made))


def test_declared_outputs_come_back_as_they_were_written() -> None:
    for parameters in ({}, {"parameters": SCHEMA}):
        made = Manifest(
            tool=tool("one", task("a", outputs=[OUTPUT | DECLARED], metrics=[{"name": "x"}]), task("b"), **parameters),
            files=(),
        )
        written = canonical(canonical_content(made))
        read = Manifest.model_validate_json(written)
        assert read == made
        assert canonical(canonical_content(read)) == written
        assert read.tool.task("a").outputs[0].statistics[0].persons == "n"


def test_declared_outputs_are_no_key_of_an_output_on_the_wire() -> None:
    sent = canonical_content(Manifest(tool=tool("one", task("a", outputs=[OUTPUT | DECLARED])), files=()))
    assert sent["tool"]["tasks"][0]["outputs"] == [OUTPUT]
    assert sent["tool"]["parameters"]["x-outputs"]["a"]["counts"]["content"]["json_schema"] == COUNT


def test_tool_without_declarations_has_the_digest_that_it_had() -> None:
    made = Manifest(tool=tool("one", task("a", outputs=[OUTPUT])), files=())
    assert "parameters" not in canonical_content(made)["tool"]
    assert tool_digest(made) == "sha256:e535b4402c3c46308d2a0d7f556e7f82a20fd83748d2a7cbac2ea4b2432e698b"


@pytest.mark.parametrize(
    "declared",
    [{"b": {}}, {"a": {"other": {}}}, {"a": {"counts": {"path": "/etc"}}}, {"a": {"counts": 3}}, {"a": []}, [], None],
)
def test_keyword_that_names_no_output_or_another_key_is_refused(declared: object) -> None:
    made = tool("one", task("a", outputs=[OUTPUT])).model_dump(mode="json")
    with pytest.raises(ValidationError):
        Tool.model_validate(made | {"parameters": {**SCHEMA, "x-outputs": declared}})


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ({"type": "json"}, "json_schema belongs"),
        ({"type": "csv"}, "columns belong"),
        ({"type": "json", "json_schema": {"type": "nonsense"}}, "not a JSON Schema"),
        ({"type": "pickle"}, "type"),
        ({"type": "text", "files": ["../x"]}, "pattern"),
    ],
)
def test_declarations_that_are_wrong_are_refused(content: object, fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        OutputDecl.model_validate({**OUTPUT, "content": content})


@pytest.mark.parametrize(
    ("statistic", "fault"),
    [
        ({"statistic": "frequencies"}, "persons"),
        ({"statistic": "position", "persons": "n"}, "quantile"),
        ({"statistic": "guess", "persons": "n"}, "statistic"),
        ({"statistic": "frequencies", "persons": "n", "at": "a..b"}, "pattern"),
        ({"statistic": "frequencies", "persons": "n", "counts": ["n"]}, "two things"),
    ],
)
def test_statistics_that_are_wrong_are_refused(statistic: object, fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        OutputDecl.model_validate({**OUTPUT, **DECLARED, "statistics": [statistic]})


def closed(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "properties": properties}


TEXT = {"type": "string"}
NUMBERS = {"type": "array", "items": {"type": "number"}, "maxItems": 5}


@pytest.mark.parametrize(
    ("schema", "problem"),
    [
        ({}, "takes any value"),
        ({"type": "object"}, "takes any key"),
        (closed(a={}), "takes any value"),
        (closed(a=TEXT), "free text"),
        (closed(a={"type": ["null", "string"]}), "free text"),
        (closed(a={**TEXT, "maxLength": 5}), "free text"),
        (closed(a={**TEXT, "pattern": "^[a-z]*$"}), "free text"),
        (closed(a={**TEXT, "pattern": "[a-z]", "maxLength": 5}), "free text"),
        (closed(a={**TEXT, "pattern": "^[a-z]+$", "maxLength": 21}), "free text"),
        (closed(a={**TEXT, "pattern": "^(a+)+$", "maxLength": 5}), "takes too long"),
        (closed(a={**TEXT, "format": "date"}), "beside format"),
        (closed(a={"enum": ["x" * 81]}), "longer than 80"),
        (closed(a={"enum": [["x"]]}), "a list"),
        (closed(a={**TEXT, "x-from": ["anywhere"]}), "x-from is here a list of"),
        (closed(a={"type": "number", "x-from": ["inputs"]}), "x-from is here a list of"),
        (closed(a={"type": "array", "items": {"enum": [1]}}), "any length"),
        (closed(a={"type": "array", "maxItems": 5}), "takes any value"),
        (closed(a={"type": "array", "items": {"enum": [1]}, "maxItems": 9999}), "any length"),
        (closed(a={"type": "number"}), "nothing is said"),
        (closed(a={"type": "integer"}), "nothing is said"),
        (closed(a={"type": "integer", "minimum": 0, "maximum": 2000}), "nothing is said"),
        (closed(rows=NUMBERS), "nothing is said"),
        (closed(**{"a.n": {"type": "integer"}}), "does not do as a name"),
        ({**closed(), "additionalProperties": {"enum": [1]}}, "takes any key"),
        ({**closed(), "patternProperties": {".*": TEXT}}, "beside patternProperties"),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}, "leads back to itself"),
        ({"$ref": "https://example.org/schema"}, "leads nowhere"),
        ({**closed(), "not": {"$ref": "https://example.org/schema"}}, "beside not"),
        ({**closed(), "uniqueItems": True}, "beside uniqueItems"),
        ({**closed(a=TEXT), "anyOf": [closed(b={"enum": [1]})]}, "anyOf beside"),
        (closed(a={"$schema": "http://json-schema.org/draft-04/schema#", "const": 1}), "$schema"),
        ({**closed(), "$schema": "http://json-schema.org/draft-04/schema#"}, "$schema"),
        ({**closed(a={"$id": "x:y", "$ref": "#/$defs/a"}), "$defs": {"a": {"const": 1}}}, "$id"),
        ({**closed(), "$defs": {"a": {"$id": "", "type": "string"}}}, "$id"),
        ({**closed(a={"$ref": "#/$defs/p~1q"}), "$defs": {"p~1q": {"const": 1}, "p/q": TEXT}}, "leads nowhere"),
        ({**closed(a={"$ref": "#/$defs/p%71"}), "$defs": {"p%71": {"const": 1}, "pq": TEXT}}, "leads nowhere"),
        ({**closed(a={"$ref": "#/$defs/p/"}), "$defs": {"p": {"const": 1, "": TEXT}}}, "leads nowhere"),
        ({**closed(a={"$ref": "#/properties/b"}, b={"const": 1})}, "leads nowhere"),
        (
            {
                **closed(),
                "additionalProperties": {"const": 1},
                "propertyNames": {"type": ["string"]},
                "maxProperties": 9,
            },
            "free text",
        ),
        (closed(a={"enum": ["x"], "pattern": "^(a|a)*$"}), "beside pattern"),
        (closed(a={"enum": ["x"], "not": {"pattern": "^(a|a)*$"}}), "beside not"),
        ({**closed(), "allOf": [{}, {}]}, "beside allOf"),
        ({**closed(), "if": {}}, "beside if"),
        ({**closed(), "x-from": ["order"]}, "beside x-from"),
        ({"$ref": "#"}, "leads nowhere"),
        (
            closed(a={"type": "array", "items": {"const": 1}, "maxItems": 9, "contains": {"const": 1}}),
            "beside contains",
        ),
        ({"anyOf": [closed(b={"enum": [1]}), closed(a=TEXT)]}, "free text"),
    ],
)
def test_schema_with_room_for_more_than_it_says_is_found(schema: Any, problem: str) -> None:
    assert any(problem in each for each in declaring(schema)), declaring(schema)


@pytest.mark.slow
def test_schema_that_multiplies_is_given_up() -> None:
    steps = {f"s{i}": {"anyOf": [{"$ref": f"#/$defs/s{i + 1}"}] * 2} for i in range(40)}
    (problem,) = declaring({"$ref": "#/$defs/s0", "$defs": {**steps, "s40": closed()}})
    assert "too large" in problem


@pytest.mark.parametrize(
    "schema",
    [
        closed(status={"enum": ["ok", "failed", None]}),
        closed(version={"const": 2}),
        closed(code={**TEXT, "pattern": "^[A-Z]{1,3}$", "maxLength": 3}),
        closed(
            host={**TEXT, "x-from": ["order"]}, grid={**NUMBERS, "items": {"type": "number", "x-from": ["parameters"]}}
        ),
        closed(round={"type": "integer", "minimum": 1, "maximum": 1000}, done={"type": "boolean"}),
        {**closed(), "additionalProperties": {"enum": [1]}, "propertyNames": {"enum": ["a", "b"]}, "maxProperties": 2},
        {"anyOf": [{"$ref": "#/$defs/a"}, closed()], "$defs": {"a": closed(b={"type": "null"})}},
    ],
)
def test_schema_that_says_all_beforehand_is_closed(schema: Any) -> None:
    assert declaring(schema) == ()


def test_text_by_a_pattern_may_be_longer_where_it_says_nothing_of_persons() -> None:
    schema = closed(a={**TEXT, "pattern": "^[a-z]*$", "maxLength": 80})
    assert declaring(schema, disclosure="report") == ()
    assert declaring(schema, disclosure="aggregate")


def test_texts_by_patterns_are_few_in_all() -> None:
    code = {**TEXT, "pattern": "^[a-z]*$", "maxLength": 20}
    for most, fits in ((100, True), (101, False)):
        listed = closed(codes={"type": "array", "maxItems": most, "items": closed(code=code)})
        keyed = {**closed(), "additionalProperties": {"type": "null"}, "propertyNames": code, "maxProperties": most}
        assert (declaring(listed) == ()) is fits
        assert (declaring(keyed) == ()) is fits


def test_number_of_a_statistic_is_accounted_for_and_an_absent_field_is_found() -> None:
    rows = {"type": "array", "maxItems": 9, "items": closed(n={"type": "integer"}, mean={"type": "number"})}
    told = {"statistic": "linear_aggregation", "at": "rows[]", "persons": "n", "mean": "mean"}
    assert declaring(closed(rows=rows), statistics=[told]) == ()
    assert declaring(closed(rows=rows), statistics=[told | {"at": "rows"}])
    assert any(
        "there is no rows[].variance" in p
        for p in declaring(closed(rows=rows), statistics=[told | {"variance": "variance"}])
    )


def test_columns_of_a_table_are_typed_and_counted() -> None:
    columns = [{"name": "sex", "type": "category", "values": ["F", "M"]}, {"name": "n", "type": "integer"}]
    output = {**OUTPUT, "content": {"type": "csv", "columns": columns}}
    told = {"statistic": "frequencies", "persons": "n", "dimensions": ["sex"]}
    assert problems_of(OutputDecl.model_validate({**output, "statistics": [told]})) == ()
    assert "nothing is said" in problems_of(OutputDecl.model_validate(output))[0]
    open_column = {**output["content"], "columns": [{"name": "sex", "type": "category"}]}  # type: ignore[dict-item]
    assert "a category declares" in problems_of(OutputDecl.model_validate({**output, "content": open_column}))[0]


def test_folder_names_its_files() -> None:
    content = {"type": "image"}
    assert problems_of(OutputDecl.model_validate({**OUTPUT, "folder": True, "content": content}))
    named = {"type": "image", "files": ["fold-#/roc.png"]}
    assert problems_of(OutputDecl.model_validate({**OUTPUT, "folder": True, "content": named})) == ()
    assert problems_of(OutputDecl.model_validate({**OUTPUT, "content": named}))


def test_text_that_no_message_could_carry_is_a_problem_and_no_fault() -> None:
    (problem,) = declaring(COUNT, min_count_fields=["\ud800"])
    assert "surrogate" in problem

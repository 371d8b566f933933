"""Placeholders of commands and environments."""

from __future__ import annotations

import pytest
from tests.support.sample_tools import task, tool

from fedproc.contract.tool.placeholders import fill, placeholders_in


def test_a_parameter_may_have_capitals_and_be_left_out() -> None:
    text = "--lr={parameter.learningRate} --note={parameter.note} {python}"
    assert placeholders_in(text) == {"parameter.learningRate", "parameter.note", "python"}
    assert fill(text, {"parameter.learningRate": "0.1", "python": "/py"}) == "--lr=0.1 --note= /py"


def test_braces_that_name_nothing_stay_and_doubled_ones_are_literal() -> None:
    assert fill('{"a": {}} {{print}} {A} {{{host}', {"host": "UB"}) == '{"a": {}} {print} {A} {{UB'
    assert placeholders_in("awk '{{print}}' {Not.This}") == set()


def test_what_a_value_holds_is_never_looked_into() -> None:
    assert fill("{parameter.a}", {"parameter.a": "{parameter.b}{{host}}"}) == "{parameter.b}{{host}}"


def test_a_tool_with_capitals_braces_and_variables_as_others_name_them() -> None:
    made = tool(
        "capital",
        task("a", command=["{python}", "{parameter.learningRate}", "{{print}}"], environment={"nnUNet_raw": "{input}"}),
        parameters={"type": "object", "properties": {"learningRate": {"type": "number"}}},
    )
    assert made.tasks[0].environment == {"nnUNet_raw": "{input}"}


def test_an_unknown_placeholder_is_told_with_the_nearest_and_the_way_to_write_it_literally() -> None:
    with pytest.raises(ValueError, match=r"\{print\} is unknown.*to have that text itself, write \{\{print\}\}"):
        tool("wrong", task("a", command=["{print}"]))
    with pytest.raises(ValueError, match=r"did you mean parameter\.learningRate\?"):
        tool(
            "wrong",
            task("a", command=["{parameter.learningrate}"]),
            parameters={"type": "object", "properties": {"learningRate": {"type": "number"}}},
        )

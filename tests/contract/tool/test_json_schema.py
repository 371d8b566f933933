"""What our schemas say beyond JSON Schema."""

from __future__ import annotations

from typing import Any

import pytest

from fedproc.contract.tool.json_schema import is_valid, validator


@pytest.mark.parametrize(
    ("values", "rises"),
    [
        ([], True),
        ([50], True),
        ([40, 50.5], True),
        ([50, 40], False),
        ([40, 40], False),
        (["a", 1], True),
        ([True, False], True),
        ([10**400, 1], False),
        ([1, float("nan")], False),
        (None, True),
    ],
)
def test_list_of_numbers_that_is_said_to_rise_does(values: Any, rises: bool) -> None:
    assert is_valid(values, {"x-rising": True}) is rises
    assert is_valid(values, {"x-rising": False})


@pytest.mark.parametrize(
    ("values", "said"),
    [([40, 60, 50, 45], "50 comes after 60"), ([1_234_567, 1_234_566], "1234566 comes after 1234567")],
)
def test_two_numbers_that_do_not_rise_are_named(values: list[int], said: str) -> None:
    (fault,) = validator({"type": "array", "x-rising": True}).iter_errors(values)
    assert fault.message == f"must rise, and {said}"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"step": 365.25, "end": 2191.5}, []),
        ({"step": 0.1, "end": 0.3}, []),
        ({"step": 30, "end": 1825}, ["end must be a multiple of step, and 1825 is none of 30"]),
        ({"step": 0, "end": 3}, []),
        ({"step": 1e-300, "end": 1e300}, ["end must be a multiple of step, and 1e+300 is none of 1e-300"]),
        ({"step": "a", "end": 3}, []),
        ([1], []),
    ],
)
def test_number_that_is_said_to_be_a_multiple_of_another_is(value: Any, said: list[str]) -> None:
    schema = {"x-multiples": {"end": "step", "odd": []}}
    assert [fault.message for fault in validator(schema).iter_errors(value)] == said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tumour_size ~ age + grade:age - 1", None),
        ("log(marker) ~ age * sex + I(age ** 2)", None),
        ("`tumour size (mm)` ~ - 1 + age", None),
        ("a ~ b + (c", "a bracket is opened and not closed"),
        ("a ~ b) + (c", "a bracket is closed that was not opened"),
        ("a ~ b ~ c", "there is more than one ~"),
        ("a ~ b +", "nothing follows '+' at its end"),
        ("tumour size ~ b", "nothing joins 'tumour' and 'size': write + between terms; a name with blanks"),
        ("a ~ factor(b)", "there is no function 'factor'; there are log, I (a category needs none)"),
        ("", None),
    ],
)
def test_formula_is_one_that_can_be_read(text: str, said: str | None) -> None:
    faults = list(validator({"x-columns": "formula", "x-functions": ["log", "I"]}).iter_errors(text))
    assert [fault.message.partition("cannot be read as a formula: ")[2][: len(said or "")] for fault in faults] == (
        [said] if said else []
    )
    assert is_valid(text, {"x-columns": "name"})


def test_formula_of_a_tool_that_names_no_functions_may_call_any() -> None:
    assert is_valid("a ~ factor(b)", {"x-columns": "formula"})

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

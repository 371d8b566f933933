"""Where two hospitals describe the same columns differently."""

from __future__ import annotations

from typing import Any

import pytest

from fedproc.cli.comparison import differences
from fedproc.contract.wire.datasets import DatasetColumn

SEX = {"name": "sex", "type": "category", "values": ("F", "M")}


def _columns(*entries: dict[str, Any]) -> list[DatasetColumn]:
    return [DatasetColumn.model_validate(entry) for entry in entries]


def _lines(one: list[dict[str, Any]], other: list[dict[str, Any]], only: set[str] | None = None) -> list[str]:
    return [each.line() for each in differences({"UB:a": _columns(*one), "BSC:a": _columns(*other)}, only)]


def test_descriptions_that_say_the_same_do_not_differ_whatever_their_order_and_words() -> None:
    age = {"name": "age", "type": "number", "unit": "a"}
    assert _lines([age, SEX], [SEX | {"values": ("M", "F"), "description": "x"}, age]) == []


@pytest.mark.parametrize(
    ("one", "other", "line"),
    [
        ({"type": "number", "unit": "a"}, {"type": "number", "unit": "mo"}, "c: unit a at UB:a, mo at BSC:a"),
        ({"type": "number", "unit": "a"}, {"type": "number"}, "c: unit a at UB:a, none at BSC:a"),
        ({"type": "number", "unit": "a"}, {"type": "text"}, "c: type number at UB:a, text at BSC:a"),
        (
            {"type": "category", "values": ("F", "M")}, {"type": "category", "values": ("F", "M", "X")},
            "c: categories only the 2 others at UB:a, X / 2 others at BSC:a",
        ),
        (
            {"type": "category", "values": ("1", "2")}, {"type": "category", "values": ("no", "yes")},
            "c: categories 1 / 2 at UB:a, no / yes at BSC:a",
        ),
        (
            {"type": "category"}, {"type": "category", "more_values": 7},
            "c: categories none at UB:a, only the 7 others at BSC:a",
        ),
    ],
)  # fmt: skip
def test_what_differs_is_told_with_its_place(one: dict[str, Any], other: dict[str, Any], line: str) -> None:
    assert _lines([{"name": "c"} | one], [{"name": "c"} | other]) == [line]


def test_column_that_is_not_everywhere_is_missing_and_no_more() -> None:
    assert _lines([SEX], []) == ["sex: there at UB:a, missing at BSC:a"]
    assert _lines([SEX], [], {"age"}) == []


def test_of_many_datasets_some_are_named() -> None:
    found = {f"H{n}:a": _columns({"name": "age", "type": "number", "unit": "a" if n else "mo"}) for n in range(9)}
    (told,) = differences(found)
    assert told.line() == "age: unit mo at H0:a, a at H1:a, H2:a, H3:a, H4:a, H5:a, H6:a and 2 more"

"""Formulas of strangers: nothing but columns and known functions of them comes through to formulaic, and soon."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

LIBRARY = Path(__file__).parents[2] / "tool_catalog/library"
NAME = r"(`[^`]+`|[^\W\d]\w*)"
FACTOR = rf"({NAME}|(log|log2|log10|exp|sqrt)\({NAME}\)|I\({NAME} \*\* [23]\))"
ADMITTED = re.compile(rf"[01]( \+ {FACTOR}([:*]{FACTOR}){{0,2}})*")
PARTS = ["a", "b", "`tumour size`", "log(a)", "I(a ** 2)", "I(a > 9)", "os.system", "'x'", "(", ")", "~", "+", "-", ":",
         "*", "**", "^", "/", "|", "{a}", "[a]", "0", "1", "7", "%in%", ".", "\n", "\u00e4", "__import__"]  # fmt: skip


@pytest.fixture(scope="module")
def formula() -> Iterator[ModuleType]:
    """The library's module, as a tool imports it."""
    sys.path.insert(0, str(LIBRARY))
    try:
        from regression import formula

        yield formula
    finally:
        sys.path.remove(str(LIBRARY))


@pytest.mark.slow
@given(text=st.text(max_size=60) | st.lists(st.sampled_from(PARTS), max_size=14).map(" ".join), outcome=st.booleans())
def test_any_text_is_an_admitted_formula_or_a_fault(formula: ModuleType, text: str, outcome: bool) -> None:
    from regression.faults import Fault

    try:
        read = formula.parse(text, outcome=outcome)
    except Fault as fault:
        assert str(fault).startswith("parameters: formula: ")
        return
    assert ADMITTED.fullmatch(read.right), read.right
    assert not outcome or re.fullmatch(FACTOR, read.outcome)
    assert read.given == text


def test_a_formula_that_multiplies_without_end_is_refused_at_once(formula: ModuleType) -> None:
    """formulaic's own reader takes longer than anybody waits for sums raised to a power."""
    from regression.faults import Fault

    begun = time.monotonic()
    for text in ("y ~ (" + "+".join("abcdefg") + ")**9", "y ~ " + "*".join("abcdefghijklmnopq")):
        with pytest.raises(Fault):
            formula.parse(text)
    assert time.monotonic() - begun < 5

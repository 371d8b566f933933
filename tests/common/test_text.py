"""Text of others."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedproc.common.text import did_you_mean, lines


def test_a_line_ends_at_cr_lf_and_crlf_and_nowhere_else() -> None:
    text = "a\u0085b\u2028c\x0b\x0c\x1c\nd\re\r\nf".encode()
    assert list(lines([text])) == ["a\u0085b\u2028c\x0b\x0c\x1c".encode(), b"d", b"e", b"f"]


@pytest.mark.slow
@given(st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"a", b"\xc2\x85", b"bc"])), st.integers(1, 5))
def test_lines_are_the_same_however_the_bytes_come(parts: list[bytes], size: int) -> None:
    text = b"".join(parts)
    assert list(lines([text[at : at + size] for at in range(0, len(text), size)])) == text.splitlines()


def test_the_nearest_name() -> None:
    assert did_you_mean("ub", ["UB", "BSC"]) == "; did you mean UB?"
    assert did_you_mean("row-cuont", ["row-count", "census"]) == "; did you mean row-count?"
    assert did_you_mean("xyz", ["row-count"]) == ""

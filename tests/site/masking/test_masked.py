"""A sealed output as it leaves masked: no number of persons is in it, and the sum over all hosts is exact."""

from __future__ import annotations

import base64
import json
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.masking import HOSTS, WORD, MaskingHosts, numbers, words

from fedproc.common.errors import ToolFaultError
from fedproc.contract.tool.task import OutputDecl
from fedproc.site.masking.masked import mask
from fedproc.site.masking.ring import BYTES, LARGEST, SCALE, to_word

GROUPS = {"statistic": "linear_aggregation", "at": "groups[]", "persons": "n", "mean": "mean", "sum_of_squares": "m2"}
HOSTS_MADE = MaskingHosts()


def output(*statistics: dict[str, Any]) -> OutputDecl:
    given = {"name": "sums", "path": "s.json", "disclosure": "aggregate", "statistics": statistics or [GROUPS]}
    return OutputDecl.model_validate(given)


def document(*groups: tuple[int, float, float]) -> dict[str, Any]:
    return {"version": 7, "unit": "mm", "groups": [{"n": n, "mean": mean, "m2": m2} for n, mean, m2 in groups]}


def left(documents: dict[str, Any], declared: OutputDecl | None = None) -> dict[str, Any]:
    """What leaves each host."""
    return {
        host: json.loads(mask(json.dumps(each).encode(), declared or output(), HOSTS_MADE.pairs(host)))
        for host, each in documents.items()
    }


def totals(received: dict[str, Any]) -> list[Fraction]:
    rows = [[int.from_bytes(base64.urlsafe_b64decode(word[7:])) for word in words(each)] for each in received.values()]
    added = [sum(column) % WORD for column in zip(*rows, strict=True)]
    return [Fraction(word - WORD if word >= WORD // 2 else word, SCALE) for word in added]


def test_no_number_of_persons_is_in_what_leaves_and_all_else_is_as_it_was():
    documents = {host: document((40 + place, 52.5, 310.25)) for place, host in enumerate(HOSTS)}
    for host, received in left(documents).items():
        assert received["format"] == "fedproc-masked-1"
        assert received["hosts"] == list(HOSTS)
        assert numbers(received) == [7]
        assert received["document"]["unit"] == "mm"
        assert received["document"]["groups"][0].keys() == {"n", "mean", "m2"}, host
        assert all(len(base64.urlsafe_b64decode(word[7:])) == BYTES for word in words(received))


FINITE = st.floats(-1e12, 1e12, allow_nan=False, allow_infinity=False)
GROUP = st.tuples(st.integers(1, 10**6), FINITE, st.floats(0, 1e15))


@pytest.mark.slow
@given(st.lists(GROUP, min_size=3, max_size=3))
def test_sum_over_all_hosts_is_that_of_the_persons_exactly(groups):
    received = left({host: document(group) for host, group in zip(HOSTS, groups, strict=True)})
    n = sum(persons for persons, _, _ in groups)
    weighted = sum(persons * Fraction(mean) for persons, mean, _ in groups)
    squares = sum(Fraction(m2) + persons * Fraction(mean) ** 2 for persons, mean, m2 in groups)
    for found, expected in zip(totals(received), (n, weighted, squares), strict=True):
        assert abs(found - expected) <= Fraction(3, 2 * SCALE)


@pytest.mark.slow
def test_words_that_leave_are_uniform_whatever_they_hide():
    """Of 3 hosts' words of zeros each bit is set in about half: 1,200 words, five standard deviations."""
    empty = {"groups": [{"n": 0, "mean": 0.0, "m2": 0.0} for _ in range(400)]}
    for received in left(dict.fromkeys(HOSTS, empty)).values():
        found = [int.from_bytes(base64.urlsafe_b64decode(word[7:])) for word in words(received)]
        assert len(set(found)) == 1200
        set_bits = [sum(word >> bit & 1 for word in found) for bit in range(8 * BYTES)]
        assert all(abs(each - 600) < 5 * 1200**0.5 / 2 for each in set_bits)


def test_the_order_in_which_a_host_writes_its_keys_changes_no_sum():
    other = {host: document((40, 52.5, 310.25)) for host in HOSTS}
    other["BSC"] = {"groups": [{"m2": 310.25, "n": 40, "mean": 52.5}], "unit": "mm", "version": 7}
    received = left(other)
    summed = {
        key: totals({host: each["document"]["groups"][0][key] for host, each in received.items()})
        for key in ("n", "mean", "m2")
    }
    assert summed["n"] == [120]
    assert summed["mean"] == [6300]


def test_a_sum_and_counts_of_a_table_are_added_as_they_are():
    cells = {"statistic": "frequencies", "at": "cells[]", "persons": "n", "dimensions": ["sex"]}
    summed = {"statistic": "linear_aggregation", "persons": "all", "sum": "total"}
    each = {"all": 30, "total": 12.5, "cells": [{"sex": "F", "n": 10}, {"sex": "M", "n": 20}]}
    received = left(dict.fromkeys(HOSTS, each), output(cells, summed))
    assert [cell["sex"] for cell in received["UB"]["document"]["cells"]] == ["F", "M"]
    assert totals(received) == [90, Fraction(75, 2), 30, 60]


NO_SUM = {
    "a hidden cell": document((40, None, 3.0)),  # type: ignore[arg-type]
    "a text": document((40, "much", 3.0)),  # type: ignore[arg-type]
    "one too large": document((40, 1e200, 3.0)),
}


@pytest.mark.parametrize("what", NO_SUM)
def test_output_that_has_no_sum_fails_instead_of_leaving_plain(what):
    with pytest.raises(ToolFaultError, match="output sums cannot be masked"):
        mask(json.dumps(NO_SUM[what]).encode(), output(), HOSTS_MADE.pairs("UB"))


def test_count_that_stands_without_its_mean_does_not_leave_plain():
    """Its statistic holds objects with a mean alone."""
    with pytest.raises(ToolFaultError, match="n stands without the numbers of its statistic"):
        mask(b'{"groups": [{"n": 123456789}]}', output({**GROUPS, "sum_of_squares": None}), HOSTS_MADE.pairs("UB"))


def test_the_largest_number_of_thousands_of_hosts_stays_in_its_half_of_the_ring():
    assert 4000 * to_word(Fraction(LARGEST)) < WORD // 2
    assert to_word(Fraction(-1)) > WORD // 2

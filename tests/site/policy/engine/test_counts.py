"""Counts of persons as they are read, and each by itself."""

from __future__ import annotations

import pytest
from tests.support.declaring import COUNT, NUMBER, against, closed, csv_output, entries, json_output

CELL = {"statistic": "frequencies", "persons": "n"}
ONE = json_output(closed(n=COUNT), CELL)


def test_large_enough_count_passes(tmp_path):
    assert against(ONE, tmp_path, {"n": 10}) == []


@pytest.mark.parametrize("floor", [5, 10, 20])
def test_count_below_the_floor_is_refused(tmp_path, floor):
    assert against(ONE, tmp_path, {"n": floor}, floor=floor) == []
    assert against(ONE, tmp_path, {"n": floor - 1}, floor=floor) == [("persons.floor", "refuse")]


def test_floor_that_is_too_low_counts_as_five(tmp_path):
    assert against(ONE, tmp_path, {"n": 4}, floor=0) == [("persons.floor", "refuse")]


def test_zero_waits_for_a_person(tmp_path):
    assert against(ONE, tmp_path, {"n": 0}) == [("persons.zero", "review")]


@pytest.mark.parametrize(
    "raw",
    [
        b'{"n": "30"}', b'{"n": 3, "n": 30}', b'{"n": NaN}', b'{"n": Infinity}', b'{"n": 1e400}', b'{"n": 30.5}',
        b'{"n": true}', b'{"n": -30}', b'{"N": 30}', b'{"n": 30, "m": 3}', b'{"n": [30]}', b"[30]", b"30", b"",
        b'{"n": 30}{"n": 3}', b'\xef\xbb\xbf{"n": 30}', '{"n": 30}'.encode("utf-16"), b'{"n": 1' + b"0" * 30 + b"}",
        b'{"n":' * 50_000, b'{"n": 30, "n\\u0000": 3}', b'{"n": 30.0}',
    ],
    ids=str,
)  # fmt: skip
def test_count_that_is_read_otherwise_than_declared_is_refused(tmp_path, raw):
    found = against(ONE, tmp_path, raw)
    assert found
    assert all(result == "refuse" for _, result in found)


LEFT_OUT = json_output(closed(n=COUNT, missing=COUNT), CELL | {"complements": ["missing"]})


@pytest.mark.parametrize(("missing", "refused"), [(0, False), (3, True), (9, True), (10, False)])
def test_those_who_are_left_out_are_nobody_or_enough(tmp_path, missing, refused):
    found = against(LEFT_OUT, tmp_path, {"n": 50, "missing": missing})
    assert found == ([("persons.complement", "refuse")] if refused else [])


PART = json_output(
    closed(n=COUNT, events=COUNT, rate=NUMBER),
    {"statistic": "linear_aggregation", "persons": "n", "counts": ["events"], "values": ["rate"]},
)


@pytest.mark.parametrize(
    ("events", "rules"),
    [
        (40, set()),
        (4, {"persons.floor"}),
        (95, {"persons.complement", "group.most"}),
        (90, {"group.most"}),
        (100, {"group.most"}),
        (0, {"persons.zero"}),
    ],
)
def test_part_and_what_is_left_of_the_whole_are_looked_at(tmp_path, events, rules):
    assert {rule for rule, _ in against(PART, tmp_path, {"n": 100, "events": events, "rate": 0.4})} == rules


def test_estimate_without_the_count_behind_it_is_refused(tmp_path):
    assert against(PART, tmp_path, {"events": 40, "rate": 0.4}) == [("persons.present", "refuse")]
    assert ("persons.present", "refuse") in against(PART, tmp_path, {"n": None, "events": 40, "rate": 0.4})
    assert against(PART, tmp_path, {"n": 100, "events": 40}) == [("persons.present", "refuse")]


TABLE = csv_output(
    [{"name": "sex", "type": "category", "values": ["F", "M"]}, {"name": "n", "type": "integer", "hidden": ["*"]}],
    CELL | {"dimensions": ["sex"]},
)


def test_table_passes_and_a_small_count_of_it_does_not(tmp_path):
    assert against(TABLE, tmp_path, "sex,n\nF,30\nM,40\n", name="t.csv") == []
    assert against(TABLE, tmp_path, "sex,n\nF,3\nM,40\n", name="t.csv")[0] == ("persons.floor", "refuse")


@pytest.mark.parametrize(
    "text",
    [
        "n,sex\n30,F\n", "sex,n,x\nF,30,1\n", "sex,n\nF,30,4\n", "sex,n\nX,30\n", "sex,n\nF,30.5\n", "sex,n\nF, 30\n",
        "sex;n\nF;30\n", "sex,n\nF,<5\n", "", "sex,n\nF,30\nF,40\n", 'sex,n\nF,"30\n', "sex,n\nF,٣٠\n",
        "sex,n\nF,030\n",
    ],
    ids=str,
)  # fmt: skip
def test_table_otherwise_than_declared_is_refused(tmp_path, text):
    found = against(TABLE, tmp_path, text, name="t.csv")
    assert found
    assert all(result == "refuse" for _, result in found)


def test_rows_of_a_table_are_counted(tmp_path):
    many = csv_output([{"name": "n", "type": "integer"}], CELL)
    assert ("read.strict", "refuse") in against(many, tmp_path, "n\n" + "30\n" * 5001, name="t.csv")


GROUPS = json_output(
    closed(groups=entries(n=COUNT, mean=NUMBER)),
    {"statistic": "linear_aggregation", "at": "groups[]", "persons": "n", "values": ["mean"]},
)


def test_each_group_is_looked_at(tmp_path):
    assert against(GROUPS, tmp_path, {"groups": [{"n": 30, "mean": 1.5}] * 3}) == []
    found = against(GROUPS, tmp_path, {"groups": [{"n": 30, "mean": 1.5}, {"n": 3, "mean": 1.5}]})
    assert found == [("persons.floor", "refuse")]


NESTED = json_output(
    closed(n=COUNT, age=closed(n=COUNT, mean=NUMBER)),
    {"statistic": "frequencies", "persons": "n"},
    {"statistic": "association", "at": "age", "persons": "n", "values": ["mean"]},
)


@pytest.mark.parametrize(("inner", "found"), [(100, []), (95, [("persons.complement", "refuse")]), (90, []), (120, [])])
def test_count_and_one_around_it_differ_by_nobody_or_enough(tmp_path, inner, found):
    assert against(NESTED, tmp_path, {"n": 100, "age": {"n": inner, "mean": 1.5}}) == found


ANSWERS = json_output(closed(n=COUNT, yes=COUNT, no=COUNT), CELL | {"counts": ["yes", "no"]})


@pytest.mark.parametrize(("no", "found"), [(45, [("persons.complement", "review")]), (40, []), (50, [])])
def test_what_several_counts_leave_of_the_whole_is_looked_at(tmp_path, no, found):
    assert against(ANSWERS, tmp_path, {"n": 100, "yes": 50, "no": no}) == found


def test_more_persons_than_any_site_has_wait_for_a_person(tmp_path):
    assert against(ONE, tmp_path, {"n": 10**15}) == [("persons.many", "review")]

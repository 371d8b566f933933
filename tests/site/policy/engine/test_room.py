"""What a tool may say within its schema and beside its statistics: choices, spellings, layouts, many groups."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from tests.support.declaring import COUNT, NUMBER, against, closed, csv_output, entries, json_output, output

from fedproc.contract.tool.declared import problems_of
from fedproc.site.policy.engine.known import Known

CELL = {"statistic": "frequencies", "persons": "n"}
ROW = {
    "age": {"type": "integer", "minimum": 0, "maximum": 1000},
    "sex": {"enum": ["F", "M"]},
    "dead": {"type": "boolean"},
}
ROOM = [("room.choices", "review")]
chance = random.Random(3)


def rows(count: int) -> list[dict[str, Any]]:
    return [{"age": chance.randrange(100), "sex": chance.choice("FM"), "dead": True} for _ in range(count)]


@pytest.mark.slow
@pytest.mark.parametrize(("count", "found"), [(30, []), (5000, ROOM)])
def test_list_of_patients_as_declared_choices_waits_for_a_person(tmp_path, count, found):
    assert (
        against(json_output({"type": "array", "maxItems": 5000, "items": closed(**ROW)}), tmp_path, rows(count))
        == found
    )


@pytest.mark.slow
def test_table_of_categories_alone_waits_for_a_person(tmp_path):
    columns = [{"name": name, "type": "category", "values": ["a", "b"]} for name in "xy"]
    assert against(csv_output(columns), tmp_path, "x,y\n" + "a,b\n" * 4000) == ROOM
    assert against(csv_output(columns), tmp_path, "x,y\n" + "a,b\n" * 40) == []


def test_any_whole_numbers_as_multiples_of_one_wait_for_a_person(tmp_path):
    grid = json_output({"type": "array", "maxItems": 5000, "items": {"type": "number", "x-from": ["steps"]}})
    known = Known({"steps": lambda: [1]})
    assert against(grid, tmp_path, [n % 90 for n in range(1000)], known=known) == ROOM
    assert against(grid, tmp_path, list(range(24)), known=known) == []


@pytest.mark.slow
def test_keys_and_absent_fields_are_choices_too(tmp_path):
    names = {"enum": [f"k{n}" for n in range(5000)]}
    keyed = {"type": "object", "additionalProperties": {"const": 1}, "propertyNames": names, "maxProperties": 5000}
    assert against(json_output(keyed), tmp_path, {f"k{n}": 1 for n in range(600)}) == ROOM
    flags = {"type": "array", "maxItems": 5000, "items": closed(**{f"f{n}": {"const": 1} for n in range(8)})}
    assert against(json_output(flags), tmp_path, [{"f1": 1}] * 600) == ROOM


@pytest.mark.slow
def test_cells_of_a_table_are_no_choices(tmp_path):
    dimensions = [{"name": name, "type": "category", "values": [str(n) for n in range(40)]} for name in "xy"]
    table = csv_output([*dimensions, {"name": "n", "type": "integer"}], CELL | {"dimensions": ["x", "y"]})
    text = "x,y,n\n" + "".join(f"{x},{y},30\n" for x in range(40) for y in range(40))
    assert against(table, tmp_path, text) == []


ONE = json_output(closed(n=COUNT, mean=NUMBER), {"statistic": "association", "persons": "n", "values": ["mean"]})


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        ('{"n": 30, "mean": 3.25}', []),
        ('{"n":30,"mean":3.25}\n', []),
        ('{\n  "n": 30,\n  "mean": 3.25\n}\n', []),
        ('{\n\t"n": 30,\n\t"mean": 1e-05\n}', []),
        ('{"n": 30, "mean": 3.' + "1" * 800 + "}", [("read.strict", "refuse")]),
        ('{"n": 30, "mean": 3.00000000000000000000000000000000}', [("read.strict", "refuse")]),
        ('{"n": 30, "mean": 3.123456789012345678}', [("read.strict", "refuse")]),
        ('{"n":  30, "mean": 3.25}', [("read.layout", "review")]),
        ('{"n": 30, "mean": 3.25}' + " \t" * 9000, [("read.layout", "review")]),
        ('{"\\u006e": 30, "mean": 3.25}', [("read.layout", "review")]),
        ('{\n  "n": 30,\n   "mean": 3.25\n}', [("read.layout", "review")]),
    ],
)
def test_bytes_say_no_more_than_the_document(tmp_path, raw, found):
    assert against(ONE, tmp_path, raw.encode()) == found


TABLE = csv_output(
    [{"name": "sex", "type": "category", "values": ["F", "M"]}, {"name": "n", "type": "integer"}],
    CELL | {"dimensions": ["sex"]},
)


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        ("sex,n\nF,30\nM,40\n", True),
        ("sex,n\r\nF,30\r\nM,40\r\n", True),
        ('"sex","n"\n"F","30"\n"M","40"\n', True),
        ('"sex","n"\n"F",30\n"M",40\n', True),
        ('sex,n\n"F",30\nM,40\n', False),
        ("sex,n\nF,30\r\nM,40\n", False),
    ],
)
def test_table_has_one_way_of_quotes_and_lines(tmp_path, text, passes):
    assert against(TABLE, tmp_path, text) == ([] if passes else [("read.strict", "refuse")])


def test_cell_that_cannot_be_read_is_named_by_row_and_column(tmp_path):
    from fedproc.site.policy.engine.engine import inspect

    (tmp_path / "t.csv").write_text("sex,n\nF,30.0\n")
    (found,) = inspect(TABLE, tmp_path, 10, Known())
    assert "row 1, column n" in found.text
    assert "30.0" not in found.text
    (tmp_path / "t.csv").unlink()
    (tmp_path / "t.json").write_text(json.dumps({"n": 30, "mean": "x"}))
    assert "properties/mean/type" in inspect(ONE, tmp_path, 10, Known())[0].text


def hidden(*spellings: str) -> tuple[str, ...]:
    columns = [{"name": "n", "type": "integer", "hidden": list(spellings)}]
    return problems_of(csv_output(columns, CELL))


def test_spellings_of_a_hidden_number_are_few_and_no_numbers():
    assert hidden("*") == hidden("<10", "NA") == hidden("suppressed") == ()
    for wrong in (("7",), ("Dr X",), ("*", "-", "NA"), ("<1000",), ("*7",)):
        assert hidden(*wrong), wrong


def test_name_of_a_file_has_one_number_at_most():
    many = {"type": "image", "files": ["a####.png"]}
    assert any("# stands once" in each for each in problems_of(output(many, path="a", folder=True)))


def test_names_of_many_numbers_are_told_in_a_moment(tmp_path):
    from fedproc.site.policy.engine.engine import inspect

    declared = output({"type": "image", "files": ["a" + "#" * 16 + "x"]}, path="a", folder=True)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / ("a" + "1" * 63)).write_bytes(b"")
    assert ("declared.names", "refuse") in [
        (each.rule.id, str(each.result)) for each in inspect(declared, tmp_path, 10, Known())
    ]


@pytest.mark.parametrize("dimension", [NUMBER, {"type": "string", "pattern": "^[a-z]*$", "maxLength": 9}])
def test_dimension_is_chosen_from_what_is_declared(dimension):
    table = json_output(closed(rows=entries(n=COUNT, x=dimension)), CELL | {"at": "rows[]", "dimensions": ["x"]})
    assert any("the dimension rows[].x" in each for each in problems_of(table))


def test_dimensions_are_those_of_tables_of_counts():
    lying = {"statistic": "association", "at": "rows[]", "persons": "n", "dimensions": ["x"]}
    assert problems_of(json_output(closed(rows=entries(n=COUNT, x={"enum": [1, 2]})), lying))


GROUPS = json_output(
    closed(groups=entries(n=COUNT, r=NUMBER)),
    {"statistic": "association", "at": "groups[]", "persons": "n", "values": ["r"]},
)


@pytest.mark.parametrize(("count", "found"), [(40, []), (41, [("room.groups", "review")])])
def test_many_groups_of_one_statistic_wait_for_a_person(tmp_path, count, found):
    assert against(GROUPS, tmp_path, {"groups": [{"n": 100, "r": 0.5}] * count}) == found


def test_many_counts_of_one_group_wait_for_a_person(tmp_path):
    names = [f"c{n}" for n in range(11)]
    counting = {"statistic": "association", "persons": "n", "counts": names}
    many = json_output(closed(n=COUNT, **dict.fromkeys(names, COUNT)), counting)
    assert ("table.levels", "review") in against(many, tmp_path, {"n": 4000, **dict.fromkeys(names, 300)})


def test_large_model_waits_for_a_person_whatever_it_says_of_its_persons(tmp_path):
    listed = {"type": "array", "maxItems": 5000, "items": {"type": "number"}}
    model = json_output(closed(n=COUNT, b=listed), {"statistic": "regression", "persons": "n", "values": ["b"]})
    assert against(model, tmp_path, {"n": 1_000_000, "b": [0.5] * 100}) == []
    assert against(model, tmp_path, {"n": 1_000_000, "b": [0.5] * 101}) == [("table.levels", "review")]

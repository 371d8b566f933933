"""Tables of counts: totals, hidden cells, groups of which all share one thing."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.support.declaring import COUNT, against, closed, csv_output, entries, findings, json_output

from fedproc.site.policy.engine.known import Known

ANY = {"type": ["string", "null"], "x-from": ["dataset"]}
STAGES = {"enum": ["I", "II", "III", None]}
SEXES = {"enum": ["F", "M", None]}
LIST = json_output(
    closed(n=COUNT, stages=entries(stage=STAGES, n=COUNT)),
    {"statistic": "frequencies", "persons": "n"},
    {"statistic": "frequencies", "at": "stages[]", "persons": "n", "dimensions": ["stage"], "total": "n"},
)


def stages(total: Any, *counts: Any) -> dict[str, Any]:
    cells = [{"stage": stage, "n": n} for stage, n in zip(("I", "II", "III"), counts, strict=False)]
    return {"n": total, "stages": cells}


@pytest.mark.parametrize(
    ("counts", "found"),
    [
        ((60, 20, 20, 20), set()),
        ((33, 20, 12), {("persons.complement", "refuse"), ("table.total", "review")}),
        ((60, None, 20, 20), {("table.hidden", "refuse")}),
        ((60, None, None, 20), set()),
        ((28, None, None, 20), {("table.hidden", "refuse")}),
        ((30, None, None, 20), set()),
        ((None, None, 20, 20), {("table.hidden", "review")}),
        ((50, 20, 20, 20), {("table.total", "review")}),
        ((100, 90, 10), {("group.most", "review")}),
        ((40, 40, 0), {("group.all", "refuse"), ("persons.zero", "review")}),
        ((40, 40), {("group.most", "review")}),
    ],
)
def test_cells_and_their_total(tmp_path, counts, found):
    known = against(LIST, tmp_path, stages(*counts))
    if counts[0] is None:
        known = [each for each in known if each[0] != "persons.present"]
        found = set()
    assert set(known) == found


CROSS = csv_output(
    [
        {"name": "sex", "type": "category", "values": ["F", "M"]},
        {"name": "stage", "type": "category", "values": ["I", "II", "III"]},
        {"name": "n", "type": "integer"},
    ],
    {"statistic": "frequencies", "persons": "n", "dimensions": ["sex", "stage"]},
)


def crossed(cells: list[list[int]], hidden: set[tuple[int, int]], totals: bool = True) -> str:
    sexes, levels = ("F", "M"), ("I", "II", "III")
    lines = ["sex,stage,n"]
    for i, sex in enumerate(sexes):
        for j, stage in enumerate(levels):
            lines.append(f"{sex},{stage},{'' if (i, j) in hidden else cells[i][j]}")
        lines += [f"{sex},,{sum(cells[i])}"] if totals else []
    lines += [f",{stage},{cells[0][j] + cells[1][j]}" for j, stage in enumerate(levels)] if totals else []
    return "\n".join(lines) + "\n"


CELLS = [[40, 4, 30], [25, 35, 20]]


@pytest.mark.parametrize(
    ("hidden", "totals", "found"),
    [
        ({(0, 1)}, True, [("table.hidden", "refuse")]),
        ({(0, 1), (0, 2)}, True, [("table.hidden", "refuse")]),
        ({(0, 1), (0, 2), (1, 1), (1, 2)}, True, []),
        ({(0, 1)}, False, []),
    ],
)
def test_hidden_cell_that_the_totals_give_away_is_refused(tmp_path, hidden, totals, found):
    assert against(CROSS, tmp_path, crossed(CELLS, hidden, totals), name="t.csv") == found


def test_cell_that_is_left_out_is_hidden_and_no_safer(tmp_path):
    text = crossed(CELLS, set()).replace("F,II,4\n", "")
    assert ("table.hidden", "refuse") in against(CROSS, tmp_path, text, name="t.csv")
    (told,) = {each.text for each in findings(CROSS, tmp_path, text, name="t.csv") if each.rule.id == "table.hidden"}
    assert told.endswith("; a combination of sex and stage that is not there counts as hidden")
    told_of_null = findings(CROSS, tmp_path, crossed(CELLS, {(0, 1)}), name="t.csv")
    assert "not there" not in told_of_null[0].text


PERSONS = {"statistic": "frequencies", "persons": "n"}
LINKED = json_output(
    closed(by_stage=entries(sex=SEXES, stage=STAGES, n=COUNT), by_sex=entries(sex=SEXES, n=COUNT)),
    {"at": "by_stage[]", "dimensions": ["sex", "stage"], "population": "all", **PERSONS},
    {"at": "by_sex[]", "dimensions": ["sex"], "population": "all", **PERSONS},
)


def linked(by_sex: list[tuple[str, int]]) -> dict[str, Any]:
    inner = [("F", "I", 40), ("F", "II", None), ("M", "I", 25), ("M", "II", 35)]
    return {
        "by_stage": [{"sex": sex, "stage": stage, "n": n} for sex, stage, n in inner],
        "by_sex": [{"sex": sex, "n": n} for sex, n in by_sex],
    }


def test_another_table_of_the_same_persons_gives_a_hidden_cell_away(tmp_path):
    assert against(LINKED, tmp_path, linked([])) == []
    assert against(LINKED, tmp_path, linked([("F", 44), ("M", 60)])) == [("table.hidden", "refuse")]
    assert ("table.total", "review") in against(LINKED, tmp_path, linked([("F", 80), ("M", 61)]))


BESIDE = json_output(
    closed(totals=closed(n=COUNT), stages=entries(stage=STAGES, n=COUNT), sexes=entries(sex=SEXES, n=COUNT)),
    {"at": "totals", **PERSONS},
    {"at": "stages[]", "dimensions": ["stage"], **PERSONS},
    {"at": "sexes[]", "dimensions": ["sex"], **PERSONS},
)
HIDING = [{"stage": "I", "n": 30}, {"stage": "II", "n": None}]
REVIEW = [("table.hidden", "review")]


@pytest.mark.parametrize(
    ("document", "found"),
    [
        ({"stages": HIDING}, []),
        ({"stages": HIDING, "totals": {"n": 34}}, REVIEW),
        ({"stages": HIDING, "sexes": [{"sex": "F", "n": 14}, {"sex": "M", "n": 20}]}, REVIEW),
        ({"stages": [{"stage": "I", "n": 30}, {"stage": "II", "n": 40}], "totals": {"n": 70}}, []),
    ],
)
def test_hidden_cells_beside_counts_that_are_not_linked_wait_for_a_person(tmp_path, document, found):
    assert against(BESIDE, tmp_path, document) == found


def test_hidden_cells_beside_another_output_wait_for_a_person(tmp_path):
    from fedproc.common.tasks import StopFlag
    from fedproc.site.policy.engine.engine import inspect_all
    from fedproc.site.policy.engine.known import Known

    outputs = [BESIDE, BESIDE.model_copy(update={"name": "other"})]
    for output, document in zip(outputs, ({"stages": HIDING}, {"totals": {"n": 34}}), strict=True):
        (tmp_path / output.name).mkdir()
        (tmp_path / output.name / "t.json").write_text(json.dumps(document))
    found = {output.name: found for output, found in inspect_all(outputs, tmp_path, 10, Known(), StopFlag())}
    assert [(each.rule.id, str(each.result)) for each in found["table"]] == REVIEW
    assert found["other"] == []


@pytest.mark.slow
def test_many_categories_wait_for_a_person(tmp_path):
    table = json_output(
        closed(rows=entries(code=ANY | {"x-from": ["parameters"]}, n=COUNT)),
        {"statistic": "frequencies", "at": "rows[]", "persons": "n", "dimensions": ["code"]},
    )
    from fedproc.site.policy.engine.known import Known

    known = Known({"parameters": lambda: [f"c{n}" for n in range(50)]})
    for count, found in ((40, []), (41, [("table.levels", "review")])):
        rows = [{"code": f"c{n}", "n": 30} for n in range(count)]
        assert against(table, tmp_path, {"rows": rows}, known=known) == found
    rows[0]["code"] = "Dr X"
    assert against(table, tmp_path, {"rows": rows}, known=known) == [("read.schema", "refuse")]


HISTOGRAM = json_output(
    closed(n=COUNT, bins=entries(start={"type": "number", "x-from": ["parameters"]}, n=COUNT)),
    {"statistic": "frequencies", "persons": "n"},
    {"statistic": "histogram", "at": "bins[]", "persons": "n", "total": "n"},
)


@pytest.mark.parametrize(("bins", "found"), [(4, []), (5, [("histogram.bins", "refuse")])])
def test_histogram_has_no_more_bins_than_a_tenth_of_its_persons(tmp_path, bins, found):
    from fedproc.site.policy.engine.known import Known

    known = Known({"parameters": lambda: range(10)})
    document = {"n": 48, "bins": [{"start": n, "n": 48 // bins} for n in range(bins)]}
    document["n"] = sum(each["n"] for each in document["bins"])  # type: ignore[index, attr-defined]
    assert against(HISTOGRAM, tmp_path, document, floor=5, known=known) == found


def test_cell_that_is_there_twice_is_refused(tmp_path):
    text = crossed(CELLS, {(0, 1)}, totals=False) + "F,I,40\n"
    assert ("persons.present", "refuse") in against(CROSS, tmp_path, text, name="t.csv")


@pytest.mark.slow
def test_rows_of_patients_named_a_table_are_no_groups(tmp_path):
    """Each with a made-up count: they pass for groups only as long as they are few, and as one says how many."""
    rows = json_output(
        closed(rows=entries(n=COUNT, mean={"type": "number"})),
        {"statistic": "linear_aggregation", "at": "rows[]", "persons": "n", "mean": "mean"},
    )
    found = against(rows, tmp_path, {"rows": [{"n": 100, "mean": 50.0 + n} for n in range(200)]})
    assert ("sums.dominance", "review") in found


def test_known_value_may_be_one_of_the_other_ways_too(tmp_path):
    """UCUM's unit "1" of some column made every count of a boolean refused."""
    way = {"oneOf": [{"enum": ["0", "1"]}, {"type": "string", "x-from": ["dataset"]}]}
    known = Known({"dataset": lambda: ["positive_nodes", "1", "II"]})
    declared = json_output(closed(values=entries(value=way)))
    written = {"values": [{"value": "0"}, {"value": "1"}, {"value": "II"}]}
    assert against(declared, tmp_path, written, known=known) == []
    assert against(declared, tmp_path, {"values": [{"value": "III"}]}, known=known) == [("read.schema", "refuse")]

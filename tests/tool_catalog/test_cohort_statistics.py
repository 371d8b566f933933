"""``cohort-statistics`` on real data: the federated result against the pooled one, and what leaves a site."""

from __future__ import annotations

import csv
import filecmp
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.support.tool_programs import ToolProgram

from fedproc.demo.data import COHORT_PARAMETERS, SHARES, YEAR, differences

pytestmark = pytest.mark.process

Write = Callable[[str, Any], Path]
HALF_YEARS = {**COHORT_PARAMETERS, "time_grid": {"step": YEAR / 2, "end": 7 * YEAR}}
COUNTS = ("at_risk", "events", "censored", "n", "missing", "count", "persons")


class Federation:
    """The three sites and the aggregator of one run."""

    def __init__(self, tool: ToolProgram, data: Path, root: Path) -> None:
        self.tool, self.data, self.root = tool, data, root
        self.sites, self.output = root / "sites", root / "output"
        self.output.mkdir()
        self.hosts = root / "hosts.json"
        self.hosts.write_text(json.dumps({"local": list(SHARES), "combine": ["EUCAIM"]}))

    def run(self, parameters: Path) -> dict[str, Any]:
        for host in SHARES:
            ended = self.local(host, parameters)
            assert ended.returncode == 0, ended.stderr
        ended = self.combine(parameters)
        assert ended.returncode == 0, ended.stderr
        return json.loads((self.output / "result.json").read_text())

    def local(self, host: str, parameters: Path) -> Any:
        (self.sites / host).mkdir(parents=True, exist_ok=True)
        datasets = self.data / host / "breast-cohort"
        return self.tool.run(
            *("local", "--datasets", datasets, "--host", host, "--parameters", parameters),
            *("--output", self.sites / host),
        )

    def combine(self, parameters: Path) -> Any:
        return self.tool.run(
            *("combine", "--sites", self.sites, "--hosts", self.hosts, "--parameters", parameters),
            *("--output", self.output),
        )

    def answer(self, host: str) -> dict[str, Any]:
        return json.loads((self.sites / host / "statistics.json").read_text())

    def change(self, host: str, edit: Callable[[dict[str, Any]], None]) -> None:
        changed = self.answer(host)
        edit(changed)
        (self.sites / host / "statistics.json").write_text(json.dumps(changed))


@pytest.fixture
def federation(statistics: ToolProgram, data: Path, tmp_path: Path) -> Federation:
    return Federation(statistics, data, tmp_path)


@pytest.fixture
def answered(federation: Federation, write_json: Write) -> tuple[Federation, Path]:
    """A federation whose sites have answered the demo's request."""
    parameters = write_json("parameters.json", dict(COHORT_PARAMETERS))
    federation.run(parameters)
    return federation, parameters


def _counts(value: Any, under: str = "") -> Iterator[int]:
    if isinstance(value, dict):
        for name, part in value.items():
            yield from _counts(part, name)
    elif isinstance(value, list):
        for part in value:
            yield from _counts(part, under)
    elif under in COUNTS:
        yield value


def test_the_demos_result_equals_the_pooled_one_on_the_grid_that_was_asked_for(
    answered: tuple[Federation, Path],
) -> None:
    federation, _ = answered
    result = json.loads((federation.output / "result.json").read_text())
    assert result["merged_points"] == []
    assert not any("classes" in warning or "withholds" in warning for warning in result["warnings"])
    assert result["grid"] == pytest.approx([YEAR * year for year in range(1, 7)])
    assert result["persons"] == 686
    found = differences(result)
    assert len(found) == 17
    assert max(found.values()) < 1e-9, found


@pytest.mark.parametrize("least", [3, 5, 10])
def test_joined_bins_lose_points_but_no_exactness(federation: Federation, write_json: Write, least: int) -> None:
    result = federation.run(write_json("parameters.json", {**HALF_YEARS, "min_cell": least}))
    assert result["merged_points"]
    assert len(result["grid"]) >= 2
    assert sorted(result["grid"] + result["merged_points"]) == pytest.approx([YEAR / 2 * n for n in range(1, 15)])
    assert max(differences(result).values()) < 1e-9
    for host in SHARES:
        assert [count for count in _counts(federation.answer(host)) if 0 < count < least] == []


def test_no_value_of_a_single_person_leaves_a_site(answered: tuple[Federation, Path]) -> None:
    federation, _ = answered
    answer = federation.answer("FORTH")
    with (federation.data / "FORTH/breast-cohort/breast-cohort/cohort.csv").open(newline="") as stream:
        ages = [int(row["age"]) for row in csv.DictReader(stream)]
    age = next(entry for entry in answer["variables"] if entry["name"] == "age")
    told = {age[key] for key in ("mean", "sum_of_squared_deviations")} | {
        edge for b in age["histogram"] for edge in (b["from"], b["to"])
    }
    assert not told & {min(ages), max(ages)}
    assert {row["to"] for row in answer["survival"]["rows"]} <= set(answer["request"]["grid"])


def test_the_curve_is_there_as_csv_and_as_a_picture(answered: tuple[Federation, Path]) -> None:
    federation, _ = answered
    with (federation.output / "survival.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    result = json.loads((federation.output / "result.json").read_text())
    assert [float(row["survival"]) for row in rows] == [point["survival"] for point in result["curve"]]
    assert [float(row["from"]) for row in rows] == [0.0, *result["grid"][:-1]]
    picture = (federation.output / "survival.png").read_bytes()
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    assert len(picture) > 20_000


def test_the_result_says_its_method_and_how_far_the_exact_estimate_can_be(answered: tuple[Federation, Path]) -> None:
    """By lifelines on all persons' exact times; the estimate that moves times up to the grid was 0.056 from it."""
    from lifelines import KaplanMeierFitter
    from lifelines.datasets import load_gbsg2

    federation, _ = answered
    result = json.loads((federation.output / "result.json").read_text())
    patients = load_gbsg2()
    exact = KaplanMeierFitter().fit(patients["time"], patients["cens"])
    assert result["method"]["estimator"].startswith("life table (actuarial")
    assert result["time_unit"] == "d"
    for point, value in zip(result["curve"], exact.predict(result["grid"]), strict=True):
        assert point["exact_lowest"] <= value <= point["exact_highest"]
        assert point["lower"] < value < point["upper"]
        assert abs(point["survival"] - value) <= min(result["largest_distance_to_exact"], 0.01)
    middle = result["median_survival"]
    assert middle["exact_above"] < exact.median_survival_time_ <= middle["exact_at_most"]
    assert middle["estimate"] == pytest.approx(exact.median_survival_time_, abs=YEAR / 4)


def test_a_grid_so_fine_that_it_destroys_the_curve_is_told(federation: Federation, write_json: Write) -> None:
    parameters = write_json("parameters.json", {**COHORT_PARAMETERS, "time_grid": {"step": 30, "end": 2700}})
    for host in SHARES:
        assert federation.local(host, parameters).returncode == 0
    ended = federation.combine(parameters)
    assert ended.returncode == 0, ended.stderr
    result = json.loads((federation.output / "result.json").read_text())
    kept = len(result["grid"])
    assert "were joined with their neighbours" in result["warnings"][0]
    assert f"({90 - kept} of 90 time points; the longest bin has " in ended.stderr
    assert "ask for a coarser time_grid" in ended.stderr


def test_units_that_differ_are_not_pooled(answered: tuple[Federation, Path]) -> None:
    federation, parameters = answered
    federation.change("UB", lambda a: a["variables"][1].update(unit="cm"))
    assert "tumour_size has different units (mm at BSC, mm at FORTH, cm at UB)" in federation.combine(parameters).stderr
    federation.change("UB", lambda a: a["survival"].update(time_unit="mo"))
    assert "different units (d at FORTH, mo at UB)" in federation.combine(parameters).stderr


def test_every_order_of_events_and_censorings_lies_between_the_bounds(statistics: ToolProgram) -> None:
    import sys

    from lifelines import KaplanMeierFitter

    sys.path.insert(0, str(statistics.folder / "source"))
    try:
        from life_tables.survival import Bin, life_table
    finally:
        sys.path.pop(0)
    chance = np.random.default_rng(1)
    for _ in range(50):
        times, events = chance.uniform(0, 5, 40), chance.random(40) < 0.5
        bins = [Bin(end, int((times > end - 1).sum()), int((inside & events).sum()), int((inside & ~events).sum()))
                for end in range(1, 6) for inside in [(times > end - 1) & (times <= end)]]  # fmt: skip
        exact = KaplanMeierFitter().fit(times, events).predict([1, 2, 3, 4, 5])
        for point, value in zip(life_table(bins), exact, strict=True):
            assert point.lowest - 1e-12 <= value <= point.highest + 1e-12


@pytest.mark.parametrize("task", ["local", "combine"])
def test_the_example_gives_the_example_output(statistics: ToolProgram, tmp_path: Path, task: str) -> None:
    example = statistics.folder / "test" / "example_input" / task
    inputs = {
        "local": ("--datasets", example / "input/cohort", "--host", "UB"),
        "combine": ("--sites", example / "input/sites", "--hosts", example / "hosts.json"),
    }[task]
    ended = statistics.run(task, *inputs, "--parameters", example / "parameters.json", "--output", tmp_path)
    assert ended.returncode == 0, ended.stderr
    expected = statistics.folder / "test" / "example_output" / task
    names = sorted(path.name for path in expected.iterdir())
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    exact = [name for name in names if not name.endswith(".png")]
    _, different, missing = filecmp.cmpfiles(expected, tmp_path, exact, shallow=False)
    assert not different
    assert not missing


# -- what a site's data can be like


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    """A copy of one host's cohort that a test may spoil."""
    return tmp_path / "datasets" / "cohort"


def _spoiled(data: Path, cohort: Path, edit: Callable[[list[list[str]]], None]) -> Path:
    shutil.copytree(data / "UB/breast-cohort/breast-cohort", cohort)
    with (cohort / "cohort.csv").open(newline="") as stream:
        rows = list(csv.reader(stream))
    edit(rows)
    with (cohort / "cohort.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    return cohort.parent


def _local(tool: ToolProgram, datasets: Path, parameters: Path, output: Path) -> Any:
    return tool.run("local", "--datasets", datasets, "--host", "UB", "--parameters", parameters, "--output", output)


def _set(row: int, column: str, text: str) -> Callable[[list[list[str]]], None]:
    def edit(rows: list[list[str]]) -> None:
        rows[row][rows[0].index(column)] = text

    return edit


def _drop_age(rows: list[list[str]]) -> None:
    for row in rows:
        del row[0]


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (_drop_age, "line 1, column age: expected a column 'age' in the first line"),
        (lambda rows: rows.clear(), "the names of the columns in the first line"),
        (lambda rows: rows.__delitem__(slice(1, None)), "expected rows below the names"),
        (lambda rows: rows.__delitem__(slice(4, None)), "fewer than 5 persons"),
        (_set(7, "time", "nan"), "UB: cohort.csv, line 8, column time: expected a number such as 12.5"),
        (_set(7, "time", "-1"), "line 8, column time: expected a time since the start of observation, 0 or more"),
        (_set(7, "time", ""), "line 8, column time: expected a time: leave out persons"),
        (_set(7, "time", "soon"), "line 8, column time: expected a number"),
        (_set(7, "event", "2"), "line 8, column event: expected 1, 1.0, true, y, yes or 0, 0.0, false, n, no"),
        (_set(7, "event", ""), "line 8, column event: expected whether the event happened"),
        (_set(7, "age", "1e999"), "line 8, column age: expected a whole number"),
        (_set(7, "age", "7_3"), "line 8, column age: expected a whole number"),
        (_set(7, "grade", "IV"), "line 8, column grade: expected one of I, II, III"),
        (lambda rows: rows[7].pop(), "line 8: expected 10 cells"),
        (lambda rows: rows[7].insert(0, "1"), "line 8: expected 10 cells"),
        (_set(0, "age", "time"), "expected a column 'time' once"),
    ],
)
def test_data_that_cannot_be_right_is_refused_with_place_and_reason(
    statistics: ToolProgram, data: Path, cohort: Path, tmp_path: Path, write_json: Write,
    edit: Callable[[list[list[str]]], None], message: str,
) -> None:  # fmt: skip
    datasets = _spoiled(data, cohort, edit)
    ended = _local(statistics, datasets, write_json("parameters.json", dict(COHORT_PARAMETERS)), tmp_path)
    assert ended.returncode == 2
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not (tmp_path / "statistics.json").exists()


@pytest.mark.parametrize("text", ["1e999", "soon", "-17.25"])
def test_a_refusal_never_quotes_a_value(
    statistics: ToolProgram, data: Path, cohort: Path, tmp_path: Path, write_json: Write, text: str
) -> None:
    datasets = _spoiled(data, cohort, _set(3, "time", text))
    ended = _local(statistics, datasets, write_json("parameters.json", dict(COHORT_PARAMETERS)), tmp_path)
    assert ended.returncode == 2
    assert text not in ended.stderr + ended.stdout


@pytest.mark.parametrize(("missing", "told"), [(0, True), (2, False), (5, True), (287, False), (288, True)])
def test_a_small_number_with_or_without_a_value_withholds_the_variable(
    statistics: ToolProgram, data: Path, cohort: Path, tmp_path: Path, write_json: Write, missing: int, told: bool
) -> None:
    def edit(rows: list[list[str]]) -> None:
        for row in rows[1 : 1 + missing]:
            row[0] = ""

    asked = {"time_grid": {"points": [YEAR]}, "variables": [{"name": "age"}], "min_cell": 5}
    parameters = write_json("parameters.json", asked)
    ended = _local(statistics, _spoiled(data, cohort, edit), parameters, tmp_path)
    assert ended.returncode == 0, ended.stderr
    answer = json.loads((tmp_path / "statistics.json").read_text())
    (age,) = answer["variables"]
    assert ("withheld" not in age) is told
    assert age.get("missing") == (missing if told else None)
    assert [count for count in _counts(answer) if 0 < count < 5] == []


def test_small_categories_are_put_together(
    statistics: ToolProgram, data: Path, cohort: Path, tmp_path: Path, write_json: Write
) -> None:
    def edit(rows: list[list[str]]) -> None:
        grade = rows[0].index("grade")
        for number, row in enumerate(rows[1:]):
            row[grade] = "III" if number < 2 else "II" if number < 20 else "I"

    parameters = write_json("parameters.json", {"time_grid": {"points": [YEAR]}, "variables": [{"name": "grade"}]})
    ended = _local(statistics, _spoiled(data, cohort, edit), parameters, tmp_path)
    assert ended.returncode == 0, ended.stderr
    (grade,) = json.loads((tmp_path / "statistics.json").read_text())["variables"]
    assert grade["counts"] == [{"values": ["I"], "count": 268}, {"values": ["II", "III"], "count": 20}]


def test_what_a_site_writes_is_explained_in_the_file_and_in_the_page_beside_the_tool(
    answered: tuple[Federation, Path],
) -> None:
    answer = answered[0].answer("UB")
    variables = {key for each in answer["variables"] for key in each} - {"name", "kind", "unit"}
    rows = {key for each in answer["survival"]["rows"] for key in each}
    page = (Path(__file__).parents[2] / "tool_catalog/cohort_statistics/README.md").read_text()
    assert [name for name in sorted(variables | rows) if f"`{name}`" not in page] == []
    assert "joined" in answer["meaning"]["counts"]
    assert "divided by n - 1 it is the variance" in answer["meaning"]["sum_of_squared_deviations"]


@pytest.mark.parametrize(
    ("described", "message"),
    [
        (None, "a file that can be read"),
        ("[1]", "a JSON object"),
        ("{", "expected JSON"),
        ('{"tables": {"cohort": "../../secret.csv"}, "columns": [{"name": "a", "type": "number"}]}', "name of a file"),
        ('{"tables": {"other": "none.csv"}, "columns": [{"name": "time", "type": "number"}]}', "column 'event'"),
        ('{"tables": {"cohort": "cohort.csv"}, "columns": []}', "columns: a list of"),
        ('{"tables": {"cohort": "cohort.csv"}, "columns": [{"name": "a", "type": "blob"}]}', "one of integer, number"),
        ("[" * 100_000, "expected JSON"),
    ],
)
def test_a_description_that_cannot_be_used_is_refused(
    statistics: ToolProgram, data: Path, cohort: Path, tmp_path: Path, write_json: Write,
    described: str | None, message: str,
) -> None:  # fmt: skip
    datasets = _spoiled(data, cohort, lambda rows: None)
    (cohort / "dataset.json").unlink()
    if described is not None:
        (cohort / "dataset.json").write_text(described)
    ended = _local(statistics, datasets, write_json("parameters.json", dict(COHORT_PARAMETERS)), tmp_path)
    assert ended.returncode == 2
    assert message in ended.stderr


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b'a,"b\n', b"a,b\n1,\x00\n"])
def test_a_table_that_is_no_csv_is_refused(
    statistics: ToolProgram, data: Path, cohort: Path, tmp_path: Path, write_json: Write, content: bytes
) -> None:
    datasets = _spoiled(data, cohort, lambda rows: None)
    (cohort / "cohort.csv").write_bytes(content)
    ended = _local(statistics, datasets, write_json("parameters.json", dict(COHORT_PARAMETERS)), tmp_path)
    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("names", [(), ("one", "two")])
def test_exactly_one_dataset_is_wanted(
    statistics: ToolProgram, tmp_path: Path, write_json: Write, names: tuple[str, ...]
) -> None:
    datasets = tmp_path / "datasets"
    for name in names:
        (datasets / name).mkdir(parents=True)
    ended = _local(statistics, datasets, write_json("parameters.json", dict(COHORT_PARAMETERS)), tmp_path)
    assert ended.returncode == 2
    assert f"one dataset a host; this one was given {', '.join(names) or 'none'}: choose one" in ended.stderr


# -- what a researcher can ask for


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"time_grid": {"step": 0, "end": 10}}, "step must be above 0"),
        ({"time_grid": {"step": 3, "end": 10}}, "end must be a multiple of step"),
        ({"time_grid": {"step": 1, "end": 10_000}}, "more than 400 steps"),
        ({"time_grid": {"step": "1", "end": 10}}, "must be a finite number"),
        ({"time_grid": {"points": []}}, "a list of 1 to 400 numbers"),
        ({"time_grid": {"points": [2, 1]}}, "the numbers must rise"),
        ({"time_grid": {"points": [0, 1]}}, "the numbers must rise from above 0"),
        ({"time_grid": None}, "give either {step, end} or {points"),
        ({"time_column": "days"}, "a column 'days'"),
        ({"time_column": "grade"}, "time_column: grade is of type category here; expected number or integer"),
        ({"event_column": "age"}, "event_column: age is of type integer here; expected boolean"),
        ({"variables": [{"name": "age"}, {"name": "age"}]}, "stands there twice"),
        ({"variables": [{"name": "grade", "edges": [1]}]}, "the column is a category"),
        ({"min_cell": 1}, "min_cell: must be a whole number from 3"),
        ({"min_cell": True}, "min_cell: must be a whole number from 3"),
        ({"mincell": 5}, "unknown mincell"),
    ],
)
def test_parameters_that_cannot_be_met_are_refused(
    federation: Federation, write_json: Write, change: dict[str, Any], message: str
) -> None:
    ended = federation.local("UB", write_json("parameters.json", {**COHORT_PARAMETERS, **change}))
    assert ended.returncode == 2
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_place_that_cannot_be_written_is_said(statistics: ToolProgram, data: Path, write_json: Write) -> None:
    parameters = write_json("parameters.json", dict(COHORT_PARAMETERS))
    ended = _local(statistics, data / "UB/breast-cohort", parameters, Path("/proc/none"))
    assert ended.returncode == 1
    assert "No such file or directory" in ended.stderr


# -- what an aggregator must not believe


def _first_row(**change: Any) -> Callable[[dict[str, Any]], None]:
    return lambda answer: answer["survival"]["rows"][0].update(change)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda a: a.update(host="BSC"), "schema_version or host"),
        (lambda a: a["request"]["grid"].pop(), "it answers another request"),
        (_first_row(events=3), "events is a small count"),
        (_first_row(events=-7), "events must be a count"),
        (_first_row(events=7.5), "events must be a count"),
        (_first_row(events=1000), "rows do not follow"),
        (_first_row(to=400.0), "no point of the grid"),
        (lambda a: a["survival"]["rows"].pop(1), "rows do not follow"),
        (lambda a: a["survival"]["rows"].pop(0), "does not start at 0"),
        (lambda a: a["survival"]["after"].update(at_risk=50), "rows do not follow"),
        (lambda a: a["variables"].pop(), "its variables are not those"),
        (lambda a: a["variables"][0].update(sum_of_squared_deviations=-1.0), "is negative"),
        (lambda a: a["variables"][0].update(mean="x"), "mean must be a finite number"),
        (lambda a: a["survival"].update(time_unit=7), "time_unit must be a short text"),
        (lambda a: a["variables"][0]["histogram"].pop(1), "the bins do not follow"),
        (lambda a: a["variables"][0]["histogram"][0].update(count=99), "do not add up"),
        (lambda a: a["variables"][5]["counts"].pop(), "do not add up"),
        (lambda a: a["variables"][5].update(kind="blob"), "neither number nor category"),
        (lambda a: a.pop("survival"), "survival must be an object"),
    ],
)
def test_an_answer_that_cannot_be_right_is_refused_with_host_and_field(
    answered: tuple[Federation, Path], edit: Callable[[dict[str, Any]], None], message: str
) -> None:
    federation, parameters = answered
    federation.change("UB", edit)
    ended = federation.combine(parameters)
    assert ended.returncode == 2
    assert "answer of UB" in ended.stderr
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_host_too_few_or_too_many_is_refused(answered: tuple[Federation, Path]) -> None:
    federation, parameters = answered
    shutil.move(federation.sites / "BSC", federation.sites / "OTHER")
    ended = federation.combine(parameters)
    assert ended.returncode == 2
    assert "missing ['BSC'], not expected ['OTHER']" in ended.stderr


def test_categories_that_one_site_joined_stay_joined(answered: tuple[Federation, Path]) -> None:
    federation, parameters = answered

    def join(answer: dict[str, Any]) -> None:
        first, second, third = answer["variables"][5]["counts"]
        together = {"values": first["values"] + third["values"], "count": first["count"] + third["count"]}
        answer["variables"][5]["counts"] = [together, second]

    federation.change("UB", join)
    assert federation.combine(parameters).returncode == 0
    result = json.loads((federation.output / "result.json").read_text())
    assert result["variables"][5]["counts"] == [
        {"values": ["I", "III"], "count": 242},
        {"values": ["II"], "count": 444},
    ]
    assert "classes of a variable were joined" in result["warnings"][-1]


def test_a_variable_that_a_site_withholds_is_pooled_over_the_others(answered: tuple[Federation, Path]) -> None:
    federation, parameters = answered
    kept = federation.answer("BSC")["variables"][0]["n"] + federation.answer("FORTH")["variables"][0]["n"]
    federation.change(
        "UB", lambda a: a["variables"].__setitem__(0, {"name": "age", "kind": "number", "withheld": "few"})
    )
    assert federation.combine(parameters).returncode == 0
    result = json.loads((federation.output / "result.json").read_text())
    age = result["variables"][0]
    assert "a host withholds a variable" in result["warnings"][-1]
    assert age["hosts"] == ["BSC", "FORTH"]
    assert age["withheld"] == {"UB": "few"}
    assert age["n"] == kept


def test_sites_without_a_common_time_point_give_no_curve(federation: Federation, write_json: Write) -> None:
    parameters = write_json("parameters.json", {"time_grid": {"points": [1, 2]}})
    for host in SHARES:
        assert federation.local(host, parameters).returncode == 0
        federation.change(host, lambda a: a["survival"].update(rows=[], after={"at_risk": 100}))
    ended = federation.combine(parameters)
    assert ended.returncode == 2
    assert "ask for a coarser time_grid" in ended.stderr

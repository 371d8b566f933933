"""``kaplan-meier`` against lifelines on all persons' exact times, and what leaves a site."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tests.support.pooling_runs import PoolingRun, assert_same_json, write_dataset
from tests.support.tool_programs import ToolProgram

from fedproc.common.errors import RefusedError
from fedproc.contract.ids import new_id
from fedproc.contract.times import now
from fedproc.contract.tool.tool import ToolRef
from fedproc.contract.wire.messages import Deadlines, JobOrder, User
from fedproc.demo.data import YEAR
from fedproc.site.policy.policy_file import Policy

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
"""The environment of the tool is built from its lock file once, which can take minutes."""

YEARS = {"step": YEAR, "end": 6 * YEAR}
HALF_YEARS = {"step": YEAR / 2, "end": 6 * YEAR}


@pytest.fixture
def run(kaplan_meier: ToolProgram, by_host: dict[str, Path], tmp_path: Path) -> PoolingRun:
    """The demo's breast cohorts at three hosts."""
    return PoolingRun(kaplan_meier, by_host, tmp_path, "events.json")


@pytest.fixture
def patients(by_host: dict[str, Path]) -> pd.DataFrame:
    """All of them in one place."""
    parts = [pd.read_csv(next(folder.glob("*/*.csv"))).assign(host=host) for host, folder in by_host.items()]
    return pd.concat(parts, ignore_index=True)


def _check_near(curve: dict[str, Any], persons: pd.DataFrame) -> None:
    """Within the bounds that the curve states of lifelines' estimate of the exact times, and its median too."""
    from lifelines import KaplanMeierFitter

    exact = KaplanMeierFitter().fit(persons["time"], persons["event"])
    points = curve["curve"]
    for point, value in zip(points, np.atleast_1d(exact.predict([point["time"] for point in points])), strict=True):
        assert point["exact_lowest"] - 1e-12 <= value <= point["exact_highest"] + 1e-12
        assert abs(point["survival"] - value) <= curve["largest_distance_to_exact"] + 1e-12
    middle, median = curve["median_survival"], exact.median_survival_time_
    assert middle["exact_above"] < median
    assert middle["exact_at_most"] is None or median <= middle["exact_at_most"]


def test_one_curve_of_all_is_as_near_to_the_exact_estimate_as_it_says(run: PoolingRun, patients: pd.DataFrame) -> None:
    result = run.run(time_grid=YEARS, min_cell=5)
    (curve,) = result["curves"]
    assert (curve["group"], curve["persons"], curve["merged_points"]) == (None, 686, [])
    assert curve["largest_distance_to_exact"] < 0.1
    _check_near(curve, patients)
    assert result["log_rank"] is None
    assert result["method"]["estimator"].startswith("life table (actuarial")


@pytest.mark.parametrize(("group", "values"), [("hormone_therapy", ["no", "yes"]), ("menopause", ["Pre", "Post"])])
def test_each_group_has_a_curve_and_the_log_rank_test_is_the_exact_one_with_the_host_as_stratum(
    run: PoolingRun, patients: pd.DataFrame, group: str, values: list[str]
) -> None:
    from statsmodels.duration.survfunc import survdiff

    result = run.run(time_grid=YEARS, group=group, min_cell=5)
    assert [curve["group"] for curve in result["curves"]] == values
    for curve in result["curves"]:
        members = patients[patients[group] == curve["group"]]
        if len(curve["hosts"]) == 3:
            assert curve["persons"] == len(members)
            _check_near(curve, members)
    value, p_value = survdiff(patients["time"], patients["event"], patients[group], strata=patients["host"])
    test = result["log_rank"]
    assert (test["value"], test["p_value"]) == pytest.approx((value, p_value), rel=1e-9)
    assert (test["df"], test["hosts"]) == (len(values) - 1, ["BSC", "FORTH", "UB"])


def test_no_small_count_and_no_time_leaves_a_site(run: PoolingRun) -> None:
    run.answers(time_grid=HALF_YEARS, group="grade", min_cell=10)
    for host in run.datasets:
        answer = run.answer(host)
        assert [count for count in _counts(answer) if 0 < count < 10] == []
        told = {row[key] for group in answer["groups"] for row in group.get("rows", []) for key in ("from", "to")}
        assert told <= {0.0, *answer["request"]["grid"]}


def _counts(value: Any, under: str = "") -> Iterator[int]:
    if isinstance(value, dict):
        for name, part in value.items():
            yield from _counts(part, name)
    elif isinstance(value, list):
        for part in value:
            yield from _counts(part, under)
    elif under in {"at_risk", "events", "censored"}:
        yield value


def test_a_small_group_is_withheld_and_that_is_said(
    kaplan_meier: ToolProgram, by_host: dict[str, Path], tmp_path: Path
) -> None:
    columns = [
        {"name": "time", "type": "number"},
        {"name": "event", "type": "boolean"},
        {"name": "arm", "type": "boolean"},
    ]
    rows = [[10 * (number % 9 + 1), number % 2, int(number < 4)] for number in range(90)]
    other = [[10 * (number % 9 + 1), number % 2, int(number < 40)] for number in range(90)]
    datasets = {host: write_dataset(tmp_path / host, columns, part) for host, part in (("UB", rows), ("BSC", other))}
    run = PoolingRun(kaplan_meier, datasets, tmp_path / "run", "events.json")
    result = run.run(time_grid={"points": [50, 90]}, group="arm")
    assert [(curve["group"], curve["hosts"]) for curve in result["curves"]] == [("0", ["BSC", "UB"]), ("1", ["BSC"])]
    assert "a host withholds a group of fewer than min_cell persons (hosts of each curve)" in result["warnings"]
    assert not any("too small at every time" in warning for warning in result["warnings"])
    for entry in result["rows"]:  # the number of all rows used would tell how many are in the group
        withheld = any("withheld" in group for group in run.answer(entry["host"])["groups"])
        assert (entry["read"] is None) == (entry["left_out"] is None) == withheld


def test_the_curves_are_there_as_csv(run: PoolingRun) -> None:
    result = run.run(time_grid=YEARS, group="menopause", min_cell=5)
    with (run.output / "curves.csv").open(newline="") as stream:
        written = list(csv.DictReader(stream))
    rows = [(row["group"], float(row["from"]), float(row["survival"])) for row in written]
    told = [(c["group"], point["from"], point["survival"]) for c in result["curves"] for point in c["curve"]]
    assert rows == told
    assert all(curve["curve"][0]["from"] == 0 for curve in result["curves"])
    assert [row["from"] for row in written[1:] if float(row["from"])] == [
        row["time"] for row, after in pairwise(written) if float(after["from"])
    ]


@pytest.mark.parametrize("task", ["local", "combine"])
def test_the_example_gives_the_example_output(kaplan_meier: ToolProgram, tmp_path: Path, task: str) -> None:
    example = kaplan_meier.folder / "test" / "example_input" / task
    inputs = {
        "local": ("--datasets", example / "input/cohort", "--host", "UB"),
        "combine": ("--sites", example / "input/sites", "--hosts", example / "hosts.json"),
    }[task]
    ended = kaplan_meier.run(task, *inputs, "--parameters", example / "parameters.json", "--output", tmp_path)
    assert ended.returncode == 0, ended.stderr
    expected = kaplan_meier.folder / "test" / "example_output" / task
    assert_same_json(tmp_path, expected)
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.csv")} == {
        path.name: path.read_bytes() for path in expected.glob("*.csv")
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"time_grid": {"step": 3, "end": 10}}, "end must be a multiple of step"),
        ({"time_grid": {"points": [2, 1]}}, "the numbers must rise"),
        ({"time_grid": None}, "give either {step, end} or {points"),
        ({"time_column": "grade"}, "time_column: grade is of type category here; expected number or integer"),
        ({"event_column": "age"}, "event_column: age is of type integer here; expected boolean"),
        ({"group": "age"}, "group: age is of type integer here; expected category or boolean"),
        ({"group": "event"}, "must be different columns"),
        ({"min_cell": 2}, "min_cell: must be a whole number from 5"),
        ({"min_cell": 1000}, "fewer than 1000 persons"),
        ({"times": True}, "unknown times"),
    ],
)
def test_parameters_that_cannot_be_met_are_refused(run: PoolingRun, change: dict[str, Any], message: str) -> None:
    run.ask(**{"time_grid": YEARS, **change})
    ended = run.local("UB")
    assert ended.returncode == 2
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr


Edit = Callable[[dict[str, Any]], Any]


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda a: a.update(persons=[[63.0, 1], [71.5, 0]]), "persons: missing, or more than was asked for"),
        (lambda a: a["groups"][0]["rows"][0].update(times=[3.0]), "times: missing, or more than was asked for"),
        (lambda a: a["groups"][0]["rows"][0].update(events=3), "events is a small count"),
        (lambda a: a["groups"][0]["rows"][0].update(events=1000), "rows do not follow"),
        (lambda a: a["groups"][0]["rows"][0].update(to=63.0), "a time is no point of the grid"),
        (lambda a: a["groups"][0]["rows"].pop(0), "the first row does not start at 0"),
        (lambda a: a["groups"][0].update(variance=[[1.0, 2.0]] * 90), "variance must be finite numbers, 2"),
        (lambda a: a["groups"][0].update(excess="many"), "excess must be a finite number"),
        (lambda a: a["groups"][1].update(persons=12), "persons are not those at risk"),
        (lambda a: a["groups"].append(a["groups"][0]), "groups: one is there twice"),
        (lambda a: a["groups"].pop(), "used is not what was asked for"),
        (
            lambda a: a["rows"].update(used=a["rows"]["used"] - a["groups"].pop()["persons"]),
            "the groups of BSC and UB differ",
        ),
        (lambda a: a["columns"][0].update(unit="mo"), "types, units or categories of the columns of BSC and UB differ"),
        (lambda a: a["request"]["grid"].pop(), "request is not what was asked for"),
    ],
)
def test_an_answer_that_cannot_be_right_is_refused_with_host_and_field(
    run: PoolingRun, edit: Edit, message: str
) -> None:
    run.datasets = {host: run.datasets[host] for host in ("UB", "BSC")}
    run.hosts.write_text(json.dumps({"local": list(run.datasets)}))
    run.answers(time_grid=YEARS, group="menopause", min_cell=5)
    run.change("UB", edit)
    ended = run.combine()
    assert ended.returncode == 2
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr


# -- asking twice


def test_grids_that_differ_bracket_one_persons_event_and_a_site_that_fixes_the_grid_answers_one_of_them(
    kaplan_meier: ToolProgram, tmp_path: Path
) -> None:
    """Each answer alone keeps min_cell; their difference is one person. The site's policy lets one grid in."""
    times = [*range(100, 300, 10), *range(900, 980, 4), 1025, *range(1500, 1700, 10)]
    columns = [{"name": "time", "type": "number", "unit": "d"}, {"name": "event", "type": "boolean"}]
    data = write_dataset(tmp_path / "UB", columns, [[time, 1] for time in times])
    run = PoolingRun(kaplan_meier, {"UB": data}, tmp_path / "run", "events.json")
    grids = [{"points": [end]} for end in (1000, 1050)]
    events = [_events(run, grid) for grid in grids]
    assert min(events) >= 10
    assert events[1] - events[0] == 1, "the time of one person's event is known to 50 days"
    fixed = Policy.model_validate(
        {"tools": [{"id": "kaplan-meier", "digest": "*", "parameters": {"time_grid": [grids[0]], "min_cell": [10]}}]}
    )
    assert _admitted(fixed, {"time_grid": grids[0], "min_cell": 10})
    for other in ({"time_grid": grids[1], "min_cell": 10}, {"time_grid": grids[0], "min_cell": 11}):
        assert not _admitted(fixed, other)
    assert _events(run, grids[0]) == events[0], "the same question has the same answer"


def _events(run: PoolingRun, grid: dict[str, Any]) -> int:
    run.answers(time_grid=grid)
    (row,) = run.answer("UB")["groups"][0]["rows"]
    return int(row["events"])


def _admitted(policy: Policy, parameters: dict[str, Any]) -> bool:
    """Whether a host with this policy takes a job of the tool with these parameters."""
    soon = now() + timedelta(hours=1)
    order = JobOrder(
        job=new_id("j"), experiment=new_id("e"), task="local", user=User(sub="alice"), parameters=parameters,
        tool=ToolRef(id="kaplan-meier", version="1.1.0", digest="sha256:" + "a" * 64),
        deadlines=Deadlines(start_by=soon, end_by=soon, release_by=soon),
    )  # fmt: skip
    try:
        return policy.rule(order).id == "kaplan-meier"
    except RefusedError as refusal:
        assert refusal.code == "policy.parameters"
        return False

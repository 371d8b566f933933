"""``linear-regression`` against statsmodels on all rows in one place, and what a site lets out of its rows."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tests.support.pooling_runs import PoolingRun, assert_same_json, write_dataset
from tests.support.tool_programs import ToolProgram

from fedproc.demo.data import SHARES

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
"""The environment of the tool is built from its lock file once, which can take minutes."""

CLOSE = 1e-9
"""the largest relative difference to the pooled estimates"""
FEW = "fewer than min_cell rows were left out, or a group is withheld"
FORMULA = "tumour_size ~ age + grade + menopause:age + log(time) + I(age ** 2) + event"


@pytest.fixture
def run(linear: ToolProgram, by_host: dict[str, Path], tmp_path: Path) -> PoolingRun:
    """The demo's breast cohorts at three hosts."""
    return PoolingRun(linear, by_host, tmp_path, "sums.json")


@pytest.fixture
def made(linear: ToolProgram, tmp_path: Path) -> Callable[..., PoolingRun]:
    """A run over hosts with these rows of an outcome ``y``, a category ``c`` of I, II, III and numbers."""

    def make(*tables: pd.DataFrame) -> PoolingRun:
        datasets, root = {}, tmp_path / str(len(list(tmp_path.iterdir())))
        for host, table in zip(SHARES, tables, strict=False):
            category = {"name": "c", "type": "category", "values": ["I", "II", "III"]}
            columns = [category if name == "c" else {"name": name, "type": "number"} for name in table.columns]
            datasets[host] = write_dataset(root / host, columns, table.to_numpy().tolist())
        return PoolingRun(linear, datasets, root / "run", "sums.json")

    return make


def _table(rows: int, seed: int, **columns: Any) -> pd.DataFrame:
    chance = np.random.default_rng(seed)
    table = pd.DataFrame({"c": chance.choice(["I", "II", "III"], rows), "a": chance.normal(size=rows)})
    table = table.assign(b=chance.normal(size=rows), **columns)
    return table.assign(y=table["a"] + (table["c"] == "II") + chance.normal(size=rows))


def _pooled(formula: str, tables: Mapping[str, Path], **categories: list[str]) -> Any:
    """statsmodels' fit on all rows; formulaic makes the design, as statsmodels' own reader knows no ``sqrt``.

    R squared is about 0 where there is no intercept, as in R; statsmodels would look whether categories make up one.
    """
    from formulaic import Formula
    from statsmodels.api import OLS

    parts = [pd.read_csv(next(folder.glob("*/*.csv"))) for folder in tables.values()]
    rows = pd.concat(parts, ignore_index=True)
    for name, values in categories.items():
        rows[name] = pd.Categorical(rows[name], categories=values)
    matrices = Formula(formula).get_model_matrix(rows, context={"sqrt": np.sqrt})
    return OLS(matrices.lhs, matrices.rhs, hasconst="Intercept" in matrices.rhs).fit()


def _check_equal(result: dict[str, Any], pooled: Any, close: float = CLOSE) -> None:
    told = result["coefficients"]
    assert list(told) == list(pooled.params.index)
    for key, values in (("estimate", pooled.params), ("std_error", pooled.bse), ("t_value", pooled.tvalues)):
        assert [entry[key] for entry in told.values()] == pytest.approx(values.tolist(), rel=close, abs=1e-12)
    assert [entry["p_value"] for entry in told.values()] == pytest.approx(pooled.pvalues.tolist(), rel=1e-6, abs=1e-300)
    assert result["n"] == pooled.nobs
    assert result["residual_df"] == pooled.df_resid
    figures = (result["r_squared"], result["adjusted_r_squared"], result["residual_std_error"])
    assert figures == pytest.approx((pooled.rsquared, pooled.rsquared_adj, np.sqrt(pooled.scale)), rel=close)
    test = result["f_statistic"]
    assert (test["value"], test["p_value"]) == pytest.approx((pooled.fvalue, pooled.f_pvalue), rel=1e-6)
    assert (test["numerator_df"], test["denominator_df"]) == (pooled.df_model, pooled.df_resid)


@pytest.mark.parametrize(
    "formula", [FORMULA, "tumour_size ~ 0 + grade + age", "sqrt(tumour_size) ~ menopause * hormone_therapy - 1"]
)
def test_three_hosts_give_the_pooled_estimates(run: PoolingRun, formula: str) -> None:
    result = run.run(formula=formula)
    values = {"grade": ["I", "II", "III"], "menopause": ["Pre", "Post"], "hormone_therapy": ["no", "yes"]}
    _check_equal(result, _pooled(formula, run.datasets, **values))
    assert sum(host["n"] for host in result["hosts"]) == result["n"] == 686


def test_the_demonstrators_published_ground_truth_comes_out_to_all_its_digits(
    linear: ToolProgram, clinical: dict[str, Path], tmp_path: Path
) -> None:
    """107 rows of three sites; estimates and standard errors as EUCAIM's README and R print them."""
    run = PoolingRun(linear, clinical, tmp_path, "sums.json")
    result = run.run(formula="blood_pre ~ PM25 + age + sex + cbmi", missing="leave_out")
    published = {
        "Intercept": (74.49775, 13.68248),
        "PM25": (37.75120, 8.81887),
        "age": (0.15751, 2.22120),
        "sex[T.male]": (0.28270, 0.68322),
        "cbmi": (-0.01247, 0.21048),
    }
    told = result["coefficients"]
    assert {name: (round(told[name]["estimate"], 5), round(told[name]["std_error"], 5)) for name in told} == published
    assert (result["n"], result["residual_df"]) == (107, 102)
    assert (round(result["r_squared"], 5), round(result["adjusted_r_squared"], 4)) == (0.15562, 0.1225)
    test = result["f_statistic"]
    assert (round(result["residual_std_error"], 3), round(test["value"], 1)) == (3.452, 4.7)
    assert round(test["p_value"], 6) == 0.001602


def test_a_mean_far_from_zero_and_large_units_take_no_digits(made: Callable[..., PoolingRun]) -> None:
    tables = [_table(40, seed) for seed in (1, 2, 3)]
    plain = made(*tables).run(formula="y ~ a + b + c")["coefficients"]
    for table in tables:
        table["far"], table["large"] = table["a"] + 2.0**20, table["b"] * 2.0**40
    far = made(*tables)
    shifted = far.run(formula="y ~ far + large + c")["coefficients"]
    for key in ("estimate", "std_error"):
        assert shifted["far"][key] == pytest.approx(plain["a"][key], rel=1e-8)
        assert shifted["large"][key] * 2.0**40 == pytest.approx(plain["b"][key], rel=1e-8)
        assert shifted["c[T.II]"][key] == pytest.approx(plain["c[T.II]"][key], rel=1e-8)


def test_a_host_without_one_of_the_categories_has_the_same_design(made: Callable[..., PoolingRun]) -> None:
    tables = [_table(40, seed) for seed in (1, 2, 3)]
    tables[0]["c"] = np.where(np.arange(40) % 2, "I", "III")
    run = made(*tables)
    _check_equal(run.run(formula="y ~ c + a"), _pooled("y ~ c + a", run.datasets, c=["I", "II", "III"]))


def test_nothing_but_an_intercept_is_a_mean(made: Callable[..., PoolingRun]) -> None:
    tables = [_table(40, seed) for seed in (1, 2)]
    result = made(*tables).run(formula="y ~ 1")
    values = pd.concat(tables)["y"]
    told = result["coefficients"]["Intercept"]
    expected = (values.mean(), values.std() / np.sqrt(80))
    assert (told["estimate"], told["std_error"]) == pytest.approx(expected, rel=CLOSE)
    assert result["f_statistic"] is None


def test_rows_with_a_missing_value_are_left_out_only_if_that_is_asked_for(made: Callable[..., PoolingRun]) -> None:
    tables = [_table(40, seed) for seed in (1, 2)]
    tables[1].loc[5, "a"] = None
    run = made(*[table.astype(object).where(table.notna(), "") for table in tables])
    run.ask(formula="y ~ a")
    ended = run.local("BSC")
    assert ended.returncode == 2
    assert "BSC: cohort.csv, line 7, column a: expected a value in each row; with missing=leave_out" in ended.stderr
    assert run.run(formula="y ~ a", missing="leave_out")["n"] == 79
    assert run.run(formula="y ~ b")["n"] == 80


@pytest.mark.parametrize(
    ("empty", "told"),
    [
        (0, {"read": 60, "used": 60, "left_out": 0, "why": None}),
        (1, {"read": None, "used": 59, "left_out": None, "why": FEW}),
        (9, {"read": None, "used": 51, "left_out": None, "why": FEW}),
        (10, {"read": 60, "used": 50, "left_out": 10, "why": "a value is missing"}),
    ],
)  # fmt: skip
def test_result_says_how_many_rows_were_left_out_unless_they_are_few(
    made: Callable[..., PoolingRun], empty: int, told: dict[str, Any]
) -> None:
    table = _table(60, 1)
    table.loc[table.index < empty, "a"] = None
    run = made(_table(40, 2), table.astype(object).where(table.notna(), ""))
    result = run.run(formula="y ~ a", missing="leave_out")
    other, this = sorted(result["rows"], key=lambda entry: str(entry["host"] == "BSC"))
    assert other == {**this, "host": "UB", "read": 40, "used": 40, "left_out": 0, "why": None}
    assert this == {"host": "BSC", "dataset": "made", "version": "1.0.0", **told}
    if not 0 < empty < 10:
        run.change("BSC", lambda answer: answer["rows"].update(left_out=3))
        ended = run.combine()
        assert ended.returncode == 2
        assert "left_out is a small count that should not have left the site" in ended.stderr


@pytest.mark.parametrize(
    ("change", "formula", "message"),
    [
        (lambda t: t.assign(twice=2 * t["a"] + 3), "y ~ b + a + twice", "twice follows from a and the intercept"),
        (lambda t: t.assign(sum=t["a"] - t["b"]), "y ~ a + c + b + sum", "sum follows from a, b and the intercept"),
        (lambda t: t.assign(same=4.0), "y ~ a + same", "same is the same for all persons"),
        (lambda t: t.assign(y=1.0), "y ~ a", "the outcome is the same for all persons"),
        (lambda t: t.assign(y=3 * t["a"] + 1), "y ~ a", "the terms give the outcome exactly"),
    ],
)
def test_terms_that_cannot_be_told_apart_are_named(
    made: Callable[..., PoolingRun], change: Callable[[pd.DataFrame], pd.DataFrame], formula: str, message: str
) -> None:
    run = made(*[change(_table(60, seed)) for seed in (1, 2, 3)])
    run.answers(formula=formula)
    ended = run.combine()
    assert ended.returncode == 2
    assert message in ended.stderr
    assert not (run.output / "result.json").exists()


@pytest.mark.parametrize("task", ["local", "combine"])
def test_the_example_gives_the_example_output(linear: ToolProgram, tmp_path: Path, task: str) -> None:
    example = linear.folder / "test" / "example_input" / task
    inputs = {
        "local": ("--datasets", example / "input/cohort", "--host", "UB"),
        "combine": ("--sites", example / "input/sites", "--hosts", example / "hosts.json"),
    }[task]
    ended = linear.run(task, *inputs, "--parameters", example / "parameters.json", "--output", tmp_path)
    assert ended.returncode == 0, ended.stderr
    expected = linear.folder / "test" / "example_output" / task
    assert_same_json(tmp_path, expected)


# -- what a site does not let out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.head(9), "fewer than 10 persons (min_cell) have all values"),
        (lambda t: t.assign(c=["II"] * 4 + ["I"] * (len(t) - 4)), "another value of c[T.II] than all others"),
        (lambda t: t.assign(a=[7.0] + [0.0] * (len(t) - 1)), "have another value of a than all others"),
        (lambda t: t.assign(y=[1.0] + [0.0] * (len(t) - 1)), "have another value of y than all others"),
        (
            lambda t: t.assign(a=np.arange(len(t)) < 30, b=np.arange(len(t)) >= 25).astype({"a": int, "b": int}),
            "have a value other than 0 in both a and b",
        ),
        (
            lambda t: t.assign(a=np.arange(len(t)) < 30, b=np.arange(len(t)) < 33).astype({"a": int, "b": int}),
            "are in one cell of a by b",
        ),
    ],
)
def test_sums_that_speak_of_a_few_persons_are_refused_at_the_site(
    made: Callable[..., PoolingRun], change: Callable[[pd.DataFrame], pd.DataFrame], message: str
) -> None:
    run = made(change(_table(60, 1)))
    run.ask(formula="y ~ a + b + c")
    ended = run.local("UB")
    assert ended.returncode == 2
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr
    assert list((run.sites / "UB").iterdir()) == []


def test_what_leaves_a_site_has_the_size_of_the_model_and_counts_for_its_floor(run: PoolingRun) -> None:
    run.answers(formula=FORMULA)
    answer = run.answer("UB")
    size = 8
    assert (len(answer["terms"]), len(answer["pairs"])) == (size, size * (size - 1) / 2)
    assert 10 <= answer["smallest_group"] < answer["n"] == 288


@pytest.mark.parametrize(("rows", "where"), [((20, 60, 60), "local"), ((30, 30), "combine"), ((14, 14), "local")])
def test_more_parameters_than_the_persons_allow_are_refused(
    made: Callable[..., PoolingRun], rows: tuple[int, ...], where: str
) -> None:
    run = made(*[_table(n, seed).assign(d=range(n), e=np.sqrt(range(n))) for seed, n in enumerate(rows)])
    run.ask(formula="y ~ a + b + d + e + a:b + a:d", min_cell=5)
    ended = [run.local(host) for host in run.datasets]
    last = ended[0] if where == "local" else run.combine()
    assert last.returncode == 2
    assert "its 7 parameters are too many for the persons of" in last.stderr


# -- what a researcher can ask for


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, "formula: must be a text"),
        ({"formula": "age"}, "formula: cannot be read at its end"),
        ({"formula": "age ~ "}, "formula: cannot be read at its end"),
        ({"formula": "age ~ time; import os"}, "formula: cannot be read at '; import os'"),
        ({"formula": "age ~ __import__('os').system('id')"}, "formula: cannot be read at"),
        ({"formula": "age ~ __import__(os)"}, "formula: cannot be read at '( os )'"),
        ({"formula": "age ~ I(age > 93)"}, "formula: cannot be read at"),
        ({"formula": "age ~ I(age ** 9)"}, "formula: cannot be read at"),
        ({"formula": "age ~ {age}"}, "formula: cannot be read at"),
        ({"formula": "age ~ (time + event) ** 2"}, "formula: cannot be read at"),
        ({"formula": "age ~ center(time)"}, "formula: cannot be read at"),
        ({"formula": "age ~ time:event:grade:menopause"}, "joins more than 3 columns"),
        ({"formula": "age ~ " + "time + " * 400}, "formula: must be a text of at most 2000 characters"),
        ({"formula": "grade ~ age"}, "grade is a category, and the outcome must be a number"),
        ({"formula": "age ~ dose"}, "expected a column 'dose'"),
        ({"formula": "age ~ log(positive_nodes)", "table": "other"}, "there are cohort"),
        ({"formula": "age ~ time", "min_cell": 2}, "min_cell: must be a whole number from 5"),
        ({"formula": "age ~ time", "missing": "mean"}, "missing: must be refuse or leave_out"),
        ({"formula": "age ~ time", "rows": True}, "unknown rows"),
    ],
)
def test_parameters_that_cannot_be_met_are_refused(run: PoolingRun, parameters: dict[str, Any], message: str) -> None:
    run.ask(**parameters)
    ended = run.local("UB")
    assert ended.returncode == 2
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_function_without_a_value_names_the_lines(run: PoolingRun) -> None:
    run.ask(formula="age ~ log(progesterone_receptor)")
    ended = run.local("UB")
    assert ended.returncode == 2
    assert "column log(progesterone_receptor): expected a value of which this can be taken" in ended.stderr
    assert "cohort.csv, line " in ended.stderr


# -- what an aggregator must not believe


ROWS = [[float(row + column) for column in range(3)] for row in range(60)]


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda a: a.update(host="BSC"), "host is not what was asked for"),
        (lambda a: a["request"].update(formula="y ~ b"), "request is not what was asked for"),
        (lambda a: a.update(rows=ROWS), "rows must be an object"),
        (lambda a: a.update(terms=ROWS), "terms must be a list of at most 3 objects"),
        (lambda a: a["terms"].pop(), "terms or pairs are not those of 3 terms"),
        (lambda a: a["terms"][0].update(rows=ROWS), "rows: missing, or more than was asked for"),
        (lambda a: a["terms"][0].update(mean="1"), "mean must be a finite number"),
        (lambda a: a["terms"][0].update(mean=10**400), "mean must be a finite number"),
        (lambda a: a["terms"][0].update(sum_of_squares=-5.0), "products cannot be sums of products"),
        (lambda a: a["pairs"][0].update(product=1e9), "products cannot be sums of products"),
        (lambda a: a["pairs"][0].update(n=39), "n is not what was asked for"),
        (lambda a: a["columns"].pop(), "columns are not those of the formula"),
        (lambda a: a["columns"][0].pop("name"), "columns are not those of the formula"),
        (lambda a: a.update(n=3), "n is a small count"),
        (lambda a: a.update(smallest_group=1), "smallest_group is a small count"),
        (lambda a: a.update(n=True), "n must be a count of persons"),
        (lambda a: a["columns"][1].update(unit="mm"), "types, units or categories of the columns of BSC and UB differ"),
    ],
)
def test_an_answer_that_cannot_be_right_is_refused_with_host_and_field(
    made: Callable[..., PoolingRun], edit: Callable[[dict[str, Any]], None], message: str
) -> None:
    run = made(_table(40, 1), _table(40, 2))
    run.answers(formula="y ~ a + b")
    run.change("UB", edit)
    ended = run.combine()
    assert ended.returncode == 2
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_key_that_is_there_twice_is_refused(made: Callable[..., PoolingRun]) -> None:
    run = made(_table(40, 1), _table(40, 2))
    run.answers(formula="y ~ a")
    path = run.sites / "UB" / "sums.json"
    path.write_text(path.read_text().replace('"n": 40', '"n": 40, "n": 4000'))
    ended = run.combine()
    assert ended.returncode == 2
    assert "answer of UB: sums.json is not strict JSON" in ended.stderr


def test_a_host_too_few_is_refused(made: Callable[..., PoolingRun]) -> None:
    run = made(_table(40, 1), _table(40, 2))
    run.answers(formula="y ~ a")
    run.hosts.write_text(json.dumps({"local": ["UB", "BSC", "FORTH"]}))
    ended = run.combine()
    assert ended.returncode == 2
    assert "missing ['FORTH']" in ended.stderr

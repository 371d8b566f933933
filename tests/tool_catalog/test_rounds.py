"""``logistic-regression`` and ``cox-regression``: equal to the pooled fits, and what server and clients refuse."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
from tests.support.pooling_runs import assert_same_json, write_dataset
from tests.support.rounds_runs import RoundsRun
from tests.support.tool_programs import ToolProgram

from fedproc.demo.data import SHARES

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
"""The environment of the tools is built from their lock file once, which can take minutes."""

CLOSE = 1e-8
"""the largest relative difference to the pooled estimates"""
CATEGORIES = {"grade": ["I", "II", "III"], "menopause": ["Pre", "Post"], "hormone_therapy": ["no", "yes"]}
LOGISTIC = "event ~ age + grade + log(tumour_size) + hormone_therapy:age"
COX = "age + grade + log(tumour_size) + hormone_therapy"

Start = Callable[..., RoundsRun]


@pytest.fixture
def start(logistic: ToolProgram, cox: ToolProgram, by_host: dict[str, Path], tmp_path: Path) -> Iterator[Start]:
    """Makes runs over the demo's breast cohorts, or over other tables by host."""
    made: list[RoundsRun] = []

    def make(tool: str, datasets: dict[str, Path] | None = None) -> RoundsRun:
        program = {"logistic": logistic, "cox": cox}[tool]
        made.append(RoundsRun(program, datasets or by_host, tmp_path / f"run-{len(made)}"))
        return made[-1]

    yield make
    for run in made:
        run.close()


@pytest.fixture
def tables(tmp_path: Path) -> Callable[..., dict[str, Path]]:
    """Datasets of an outcome ``event``, a ``time``, a category ``c`` and numbers ``a`` and ``b``, by host."""

    def make(change: Callable[[pd.DataFrame], pd.DataFrame] = lambda table: table, rows: int = 60) -> dict[str, Path]:
        datasets = {}
        for seed, host in enumerate(SHARES):
            table = change(_table(rows, seed))
            columns = [{"name": name, **TYPES.get(name, {"type": "number"})} for name in table.columns]
            datasets[host] = write_dataset(tmp_path / "made" / host, columns, table.to_numpy().tolist())
        return datasets

    return make


TYPES: dict[str, dict[str, Any]] = {
    "event": {"type": "boolean"},
    "c": {"type": "category", "values": ["I", "II", "III"]},
}


def _table(rows: int, seed: int) -> pd.DataFrame:
    chance = np.random.default_rng(seed)
    table = pd.DataFrame({"c": chance.choice(["I", "II", "III"], rows), "a": chance.normal(size=rows)})
    table["b"] = chance.normal(size=rows)
    table["time"] = np.ceil(10 * chance.exponential(np.exp(-0.5 * table["a"])))
    table["event"] = (chance.random(rows) < 1 / (1 + np.exp(-table["a"]))).astype(int)
    return table


def _pooled(datasets: dict[str, Path]) -> pd.DataFrame:
    parts = {host: pd.read_csv(next(folder.glob("*/*.csv"))) for host, folder in datasets.items()}
    rows = pd.concat([part.assign(host=host) for host, part in parts.items()], ignore_index=True)
    for name, values in CATEGORIES.items():
        if name in rows:
            rows[name] = pd.Categorical(rows[name], categories=values)
    return rows


def _design(formula: str, rows: pd.DataFrame) -> Any:
    from formulaic import Formula

    return Formula(formula).get_model_matrix(rows)


@pytest.mark.parametrize("formula", [LOGISTIC, "event ~ 0 + menopause + age", "event ~ 1"])
def test_three_hosts_give_the_pooled_logistic_regression(start: Start, by_host: dict[str, Path], formula: str) -> None:
    from statsmodels.api import Logit

    result = start("logistic").run(formula=formula)
    matrices = _design(formula, _pooled(by_host))
    fit = Logit(matrices.lhs, matrices.rhs).fit(disp=0, method="newton", tol=1e-14, maxiter=50)
    told = result["coefficients"]
    assert list(told) == list(fit.params.index)
    for key, values in (("estimate", fit.params), ("std_error", fit.bse), ("z_value", fit.tvalues)):
        assert [entry[key] for entry in told.values()] == pytest.approx(values.tolist(), rel=CLOSE, abs=1e-10)
    assert [entry["p_value"] for entry in told.values()] == pytest.approx(fit.pvalues.tolist(), rel=1e-6)
    assert [entry["odds_ratio"] for entry in told.values()] == pytest.approx(np.exp(fit.params).tolist(), rel=CLOSE)
    assert (result["log_likelihood"], result["aic"]) == pytest.approx((fit.llf, fit.aic), rel=CLOSE)
    if "Intercept" in told:
        assert result["null_log_likelihood"] == pytest.approx(fit.llnull, rel=CLOSE)
    if len(told) > 1 and "Intercept" in told:
        assert result["likelihood_ratio"]["p_value"] == pytest.approx(fit.llr_pvalue, rel=1e-6)
    assert (result["n"], result["events"]) == (686, 299)


def test_three_hosts_give_the_pooled_cox_regression_with_the_host_as_stratum(
    start: Start, by_host: dict[str, Path]
) -> None:
    from lifelines import CoxPHFitter

    result = start("cox").run(formula=COX)
    rows = _pooled(by_host)
    terms = _design(COX, rows).drop(columns="Intercept")
    outcome = rows[["time", "event", "host"]]
    fit = CoxPHFitter().fit(pd.concat([terms, outcome], axis=1), "time", "event", strata=["host"],
                            fit_options={"precision": 1e-14})  # fmt: skip
    told = result["coefficients"]
    assert list(told) == list(fit.params_.index)
    for key, values in (("estimate", fit.params_), ("std_error", fit.standard_errors_)):
        assert [entry[key] for entry in told.values()] == pytest.approx(values.tolist(), rel=1e-6)
    assert result["log_likelihood"] == pytest.approx(fit.log_likelihood_, rel=CLOSE)
    assert result["likelihood_ratio"]["p_value"] == pytest.approx(fit.log_likelihood_ratio_test().p_value, rel=1e-5)
    assert "stratified by host" in result["method"]


def test_the_partial_likelihood_with_many_ties_is_that_of_statsmodels(
    start: Start, tables: Callable[..., dict[str, Path]]
) -> None:
    """To more digits than lifelines gives; whole times to ten, so that events and censorings tie."""
    from statsmodels.duration.hazard_regression import PHReg

    datasets = tables(lambda table: table.assign(time=np.minimum(table["time"], 12)))
    result = start("cox", datasets).run(formula="a + b + c", min_cell=5)
    rows = _pooled(datasets)
    rows["c"] = pd.Categorical(rows["c"], categories=["I", "II", "III"])
    terms = _design("a + b + c", rows).drop(columns="Intercept")
    fit = PHReg(rows["time"], terms, status=rows["event"], strata=rows["host"], ties="efron").fit(disp=0)
    told = result["coefficients"]
    assert [entry["estimate"] for entry in told.values()] == pytest.approx(fit.params.tolist(), rel=CLOSE)
    assert [entry["std_error"] for entry in told.values()] == pytest.approx(fit.bse.tolist(), rel=1e-6)


def test_units_and_means_far_from_zero_take_no_digits(start: Start, tables: Callable[..., dict[str, Path]]) -> None:
    plain = start("logistic", tables()).run(formula="event ~ a + b")["coefficients"]
    moved = tables(lambda table: table.assign(a=table["a"] + 2.0**20, b=table["b"] * 2.0**40))
    far = start("logistic", moved).run(formula="event ~ a + b")["coefficients"]
    for key in ("estimate", "std_error"):
        assert far["a"][key] == pytest.approx(plain["a"][key], rel=1e-7)
        assert far["b"][key] * 2.0**40 == pytest.approx(plain["b"][key], rel=1e-9)


def test_each_rounds_progress_is_shown(start: Start) -> None:
    run = start("logistic")
    result = run.run(formula="event ~ age")
    told = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    assert [entry["round"] for entry in told] == list(range(1, result["rounds"] + 1))
    likelihoods = [entry["log_likelihood"] for entry in told]
    assert likelihoods == sorted(likelihoods)
    assert result["rounds"] < 10


@pytest.mark.parametrize("tool", ["logistic", "cox"])
def test_the_example_gives_the_example_output(start: Start, tool: str, logistic: ToolProgram, cox: ToolProgram) -> None:
    test = {"logistic": logistic, "cox": cox}[tool].folder / "test"
    run = start(tool, {"UB": test / "example_input/client/input/cohort"})
    run.run(**json.loads((test / "example_input/client/parameters.json").read_text()))
    assert_same_json(run.output, test / "example_output/server")


# -- what ends without a result


def _all_join(run: RoundsRun, **parameters: Any) -> tuple[int, str]:
    run.ask(**parameters)
    run.serve()
    for host in run.datasets:
        run.join(host)
    return run.ended()


@pytest.mark.parametrize("tool", ["logistic", "cox"])
def test_an_outcome_that_can_be_told_exactly_is_told_as_separation(
    start: Start, tables: Callable[..., dict[str, Path]], tool: str
) -> None:
    def separated(table: pd.DataFrame) -> pd.DataFrame:
        return table.assign(
            event=(table["a"] > 0).astype(int), time=np.where(table["a"] > 0, 1, 5) + table["time"] / 900
        )

    run = start(tool, tables(separated))
    formula = "event ~ a + b" if tool == "logistic" else "I(a ** 3) + b"
    code, errors = _all_join(run, formula=formula)
    assert code == 3
    assert "(separation)" in errors
    assert all(run.ended(host)[0] == 3 for host in run.clients)
    assert not (run.output / "result.json").exists()


def test_terms_that_follow_from_others_are_named(start: Start, tables: Callable[..., dict[str, Path]]) -> None:
    run = start("logistic", tables(lambda table: table.assign(sum=table["a"] - 2 * table["b"])))
    code, errors = _all_join(run, formula="event ~ a + b + sum")
    assert (code, "sum follows from a, b" in errors) == (2, True), errors


def test_too_few_rounds_are_told_with_the_term_that_still_changes(start: Start) -> None:
    code, errors = _all_join(start("logistic"), formula="event ~ age", max_rounds=2)
    assert code == 3
    assert "do not settle in 2 rounds" in errors
    assert "allow more (max_rounds)" in errors


def test_a_host_that_does_not_come_is_named(start: Start) -> None:
    run = start("cox")
    run.ask(formula="age", join_seconds=8)
    run.serve()
    run.join("UB")
    run.join("BSC")
    code, errors = run.ended()
    assert code == 3
    assert "round 0: no answer of FORTH within 8 s" in errors
    assert {run.ended(host)[0] for host in ("UB", "BSC")} == {3}


def test_a_host_that_is_gone_before_its_reply_leaves_a_line_and_no_traceback(start: Start) -> None:
    run = start("logistic")
    run.ask(formula=LOGISTIC, join_seconds=4)
    run.serve("UB", "BSC")
    message = json.dumps({"host": "UB", "round": 0, "answer": INTRODUCTION | {"columns": COLUMNS}}).encode()
    with socket.create_connection(("127.0.0.1", run.port)) as gone:
        gone.sendall(b"POST /answers HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(message) + message)
    code, errors = run.ended()
    assert code == 3
    assert "no answer of BSC within 4 s" in errors
    assert "a host's connection ended before its reply was sent" in errors
    assert "Traceback" not in errors


def test_a_host_that_falls_silent_in_a_round_is_named_and_the_others_end(start: Start) -> None:
    run = start("logistic")
    run.ask(formula="event ~ age", round_seconds=5)
    run.serve("BSC", "UB")
    run.join("BSC")
    assert _post(run, {"host": "UB", "round": 0, "answer": INTRODUCTION | {"columns": COLUMNS}})["round"] == 1
    code, errors = run.ended()
    assert code == 3
    assert "round 1: no answer of UB within 5 s" in errors
    assert run.ended("BSC")[0] == 3


@pytest.mark.parametrize(
    ("tool", "parameters", "message"),
    [
        ("logistic", {"formula": "age ~ grade"}, "the outcome age must be a boolean column"),
        ("logistic", {"formula": "event ~ age", "min_cell": 150}, "fewer than 150 persons"),
        ("logistic", {"formula": "event ~ I(age > 93)"}, "cannot be read at"),
        ("logistic", {"formula": "event ~ age", "rounds": 3}, "unknown rounds"),
        ("logistic", {"formula": "event ~ age", "max_rounds": 51}, "max_rounds: must be a whole number from 1 to 50"),
        ("cox", {"formula": "event ~ age"}, "cannot be read at '~ age'"),
        ("cox", {"formula": "0 + age"}, "there is no intercept to leave out"),
        ("cox", {"formula": "age", "time_column": "grade"}, "grade is of type category here; expected number"),
        ("cox", {"formula": "age", "event_column": "age"}, "age is of type integer here; expected boolean"),
    ],
)
def test_what_a_site_cannot_or_must_not_answer_is_refused_there(
    start: Start, tool: str, parameters: dict[str, Any], message: str
) -> None:
    run = start(tool)
    run.ask(**parameters)
    run.join("BSC")
    code, errors = run.ended("BSC")
    assert code == 2
    assert message in errors
    assert "Traceback" not in errors


# -- a client that lies, by a real server


INTRODUCTION = {
    "schema_version": 1,
    "dataset": {"id": "x", "version": "1"},
    "request": {"formula": "event ~ age", "table": "", "missing": "refuse", "min_cell": 10},
    "columns": [],
    "terms": ["age"],
    "n": 100,
    "rows": {"used": 100, "left_out": 0},
    "events": 40,
    "smallest_group": 40,
    "means": [50.0],
    "squares": [1000.0],
}
COLUMNS = [
    {"name": "event", "type": "boolean", "unit": None, "values": []},
    {"name": "age", "type": "integer", "unit": "a", "values": []},
]
ANSWER = {"log_likelihood": -60.0, "gradient": [1.0, 2.0], "information": [[25.0, 1.0], [1.0, 20.0]]}
ROWS = [[float(row), 1.0, 52.0] for row in range(100)]


@pytest.mark.parametrize(
    ("introduction", "answer", "message"),
    [
        ({"rows": ROWS}, {}, "rows must be an object"),
        ({"means": ROWS}, {}, "means must be finite numbers, 1"),
        ({"n": 3}, {}, "n is a small count"),
        ({"squares": [-1.0]}, {}, "squares must not be negative"),
        ({"request": {"formula": "event ~ 1 + grade"}}, {}, "request is not what was asked for"),
        ({}, {"gradient": ROWS}, "gradient must be finite numbers, 2"),
        ({}, {"information": ROWS}, "information must be finite numbers, 2 by 2"),
        ({}, {"information": [[25.0, 1.0], [2.0, 20.0]]}, "information must be symmetric"),
        ({}, {"information": [[-25.0, 1.0], [1.0, 20.0]]}, "information cannot be sums of products"),
        ({}, {"log_likelihood": "low"}, "log_likelihood must be a finite number"),
        ({}, {"rows": ROWS}, "rows: missing, or more than was asked for"),
    ],
)
def test_an_answer_that_is_no_sum_ends_all_with_host_and_field(
    start: Start, introduction: dict[str, Any], answer: dict[str, Any], message: str
) -> None:
    run = start("logistic")
    run.ask(formula="event ~ age")
    run.serve("UB")
    try:
        first = _post(run, {"host": "UB", "round": 0, "answer": INTRODUCTION | introduction})
        if answer:
            assert first["round"] == 1
            assert _post(run, {"host": "UB", "round": 1, "answer": ANSWER | answer}) == {"failed": True}
        else:
            assert first == {"failed": True}
    finally:
        code, errors = run.ended()
    assert code == 2
    assert f"answer of UB: {message}" in errors
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"rows",
        b"[" * 9999,
        b'{"host": "BSC", "round": 0, "answer": {}}',
        b'{"host": "UB", "round": 5, "answer": {}}',
    ],
)
def test_a_message_of_nobody_is_passed_over(start: Start, body: bytes) -> None:
    run = start("logistic")
    run.ask(formula="event ~ age", join_seconds=8)
    run.serve("UB")
    assert httpx.post(f"http://127.0.0.1:{run.port}/answers", content=body).status_code == 400
    code, errors = run.ended()
    assert code == 3
    assert "no answer of UB" in errors
    assert "Traceback" not in errors


def _post(run: RoundsRun, message: dict[str, Any]) -> dict[str, Any]:
    reply = httpx.post(f"http://127.0.0.1:{run.port}/answers", json=message, timeout=60)
    told: dict[str, Any] = reply.json()
    return told


# -- a server that asks for more, by a real client


class AskingServer:
    """Answers a client's first message with ``reply``, and keeps what it was told after."""

    def __init__(self, port: int, reply: dict[str, Any]) -> None:
        self.told: list[dict[str, Any]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                outer.told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                body = json.dumps(reply if len(outer.told) == 1 else {"finished": True}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = HTTPServer(("127.0.0.1", port), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


ASK = {"round": 1, "coefficients": [0.0, 0.0], "centre": [50.0], "scale": [10.0]}


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"rows": True}, "asks for something else than the next round"),
        ({"round": 2}, "asks for something else than the next round"),
        ({"coefficients": [0.0, 0.0, 0.0]}, "does not tell 2 finite numbers"),
        ({"coefficients": ["0", 0.0]}, "does not tell 2 finite numbers"),
        ({"scale": [0.0]}, "tells a scale that is none"),
    ],
)
def test_a_server_that_asks_for_more_gets_nothing(start: Start, more: dict[str, Any], message: str) -> None:
    run = start("logistic")
    run.ask(formula="event ~ age")
    server = AskingServer(run.port, ASK | more)
    try:
        run.join("BSC")
        code, errors = run.ended("BSC")
    finally:
        server.close()
    assert code == 3
    assert message in errors
    assert len(server.told) == 1


@pytest.mark.parametrize("slope", [60.0, -60.0])
def test_coefficients_that_pick_out_a_few_persons_get_nothing(start: Start, slope: float) -> None:
    """They lead the fitted chance from 0 to 1 between the oldest and all others: only who is there would count."""
    run = start("logistic")
    run.ask(formula="event ~ age")
    server = AskingServer(run.port, ASK | {"coefficients": [-slope * 2.7, slope]})
    try:
        run.join("BSC")
        code, errors = run.ended("BSC")
    finally:
        server.close()
    assert (code, errors) == (0, "")
    assert server.told[1]["answer"] == {"refused": "few_persons"}

"""``flower-logistic`` with a real Flower server and real clients over loopback: what it learns, and how it fails."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.support.tool_programs import ToolProgram

from fedproc.demo.data import SHARES
from fedproc.site.data.describing.checking import check_dataset
from fedproc.site.data.describing.proposal import propose

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
"""The environment of the tool is built from its lock file once, which can take minutes."""

Write = Callable[[str, Any], Path]
LONG = {"rounds": 1000, "local_steps": 200, "round_seconds": 3}
WAIT = 60


class Training:
    """One server and its clients; whatever still runs at the end is ended."""

    def __init__(self, tool: ToolProgram, port: int, root: Path) -> None:
        self._tool, self._port, self._root = tool, port, root
        self.output, self.metrics = root / "output", root / "metrics.jsonl"
        self.output.mkdir()
        self.server: subprocess.Popen[str] | None = None
        self.clients: dict[str, subprocess.Popen[str]] = {}

    def serve(self, parameters: Path, *more: str, hosts: tuple[str, ...] = tuple(SHARES)) -> None:
        listed = self._root / "hosts.json"
        listed.write_text(json.dumps({"server": ["EUCAIM"], "client": list(hosts)}))
        self.server = self._tool.start(
            *("server", "--port", str(self._port), "--hosts", listed, "--parameters", parameters),
            *("--output", self.output, "--metrics", self.metrics, *more),
        )
        self.until("waiting on port")

    def join(self, host: str, datasets: Path, parameters: Path, *, name: str | None = None) -> None:
        self.clients[host] = self._tool.start(
            *("client", "--datasets", datasets, "--host", name or host, "--server", f"localhost:{self._port}"),
            *("--parameters", parameters),
        )

    def until(self, text: str) -> None:
        """Wait until the server has said ``text``."""
        assert self.server is not None
        assert self.server.stdout is not None
        for line in self.server.stdout:
            if text in line:
                return
        raise AssertionError(f"the server ended without saying {text!r}: {self.server.communicate()[1]}")

    def ended(self, host: str | None = None) -> tuple[int, str]:
        """Exit code and standard error of the server or a client."""
        process = self.clients[host] if host else self.server
        assert process is not None, "the server was not started"
        _, errors = process.communicate(timeout=WAIT)
        return process.returncode, errors

    def result(self) -> dict[str, Any]:
        return json.loads((self.output / "result.json").read_text())

    def close(self) -> None:
        for process in (self.server, *self.clients.values()):
            if process is None:
                continue
            if process.poll() is None:
                process.kill()
            process.communicate()


@pytest.fixture
def training(flower: ToolProgram, free_port: int, tmp_path: Path) -> Iterator[Training]:
    made = Training(flower, free_port, tmp_path)
    yield made
    made.close()


def _all_join(training: Training, data: Path, parameters: Path) -> None:
    for host in SHARES:
        training.join(host, data / host / "wisconsin", parameters)


def _features(data: Path, part: str) -> Any:
    rows: list[list[float]] = []
    for host in SHARES:
        with (data / host / f"wisconsin/wisconsin/{part}.csv").open(newline="") as stream:
            rows += [list(map(float, row)) for row in list(csv.reader(stream))[1:]]
    return np.array(rows)


def test_three_hosts_train_one_model_that_is_good_on_what_they_held_out(
    training: Training, data: Path, write_json: Write
) -> None:
    parameters = write_json("parameters.json", {})
    training.serve(parameters)
    _all_join(training, data, parameters)
    code, errors = training.ended()
    assert (code, errors) == (0, "")
    assert {host: training.ended(host) for host in SHARES} == dict.fromkeys(SHARES, (0, ""))

    result = training.result()
    assert result["status"] == "ok"
    assert result["failures"] == []
    losses = [entry["loss"] for entry in result["rounds"]]
    assert len(losses) == 5
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.15
    assert result["rounds"][-1]["accuracy"] > 0.93
    assert all(entry["replied"] == sorted(SHARES) for entry in result["rounds"])
    told = [json.loads(line) for line in training.metrics.read_text().splitlines()]
    assert [(entry["round"], entry["loss"]) for entry in told] == list(enumerate(losses, 1))


def test_the_model_is_scaled_and_measured_as_on_the_pooled_rows(
    training: Training, data: Path, write_json: Write
) -> None:
    parameters = write_json("parameters.json", {"rounds": 2})
    training.serve(parameters)
    _all_join(training, data, parameters)
    assert training.ended()[0] == 0

    assert training.result()["model"] == {"file": "model.npz"}
    model = np.load(training.output / "model.npz", allow_pickle=False)
    train, test = _features(data, "train"), _features(data, "test")
    np.testing.assert_allclose(model["mean"], train[:, :-1].mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(model["scale"], train[:, :-1].std(axis=0), rtol=1e-12)
    margin = (test[:, :-1] - model["mean"]) / model["scale"] @ model["coef"] + model["intercept"]
    last = training.result()["rounds"][-1]
    assert last["accuracy"] == pytest.approx(np.mean((margin > 0) == test[:, -1]))
    assert last["test_loss"] == pytest.approx(np.mean(np.log1p(np.exp(-np.where(test[:, -1] > 0, margin, -margin)))))
    assert model["features"][0] == "mean_radius"


def test_the_example_gives_the_example_output(training: Training, flower: ToolProgram) -> None:
    example = flower.folder / "test" / "example_input"
    training.serve(example / "server/parameters.json", hosts=("UB",))
    training.join("UB", example / "client/input/training", example / "client/parameters.json")
    assert training.ended()[0] == 0
    expected = json.loads((flower.folder / "test/example_output/server/result.json").read_text())
    found = training.result()
    for entry, same in zip(found["rounds"], expected["rounds"], strict=True):
        assert entry.keys() == same.keys()
        for name in ("loss", "test_loss", "accuracy"):
            assert entry[name] == pytest.approx(same[name], rel=1e-9)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_a_host_lost_in_mid_round_fails_the_training_and_is_named(
    training: Training, data: Path, write_json: Write, how: signal.Signals
) -> None:
    parameters = write_json("parameters.json", LONG)
    training.serve(parameters)
    _all_join(training, data, parameters)
    training.until("round 3:")
    training.clients["BSC"].send_signal(how)
    code, errors = training.ended()
    assert code == 3
    assert "no good reply from BSC" in errors
    assert "Traceback" not in errors
    result = training.result()
    assert (result["status"], result["model"]) == ("failed", None)
    assert {failure["host"] for failure in result["failures"]} == {"BSC"}
    assert not (training.output / "model.npz").exists()
    for host in ("UB", "FORTH"):
        code, errors = training.ended(host)
        assert code == 3
        assert "the connection to the server ended before training was over" in errors


def test_with_fewer_hosts_wanted_the_training_goes_on_and_tells_the_failures(
    training: Training, data: Path, write_json: Write
) -> None:
    parameters = write_json("parameters.json", {"rounds": 60, "local_steps": 200})
    training.serve(parameters, "--min-hosts", "2")
    _all_join(training, data, parameters)
    training.until("round 3:")
    training.clients["BSC"].kill()
    assert training.ended()[0] == 0
    result = training.result()
    assert result["status"] == "ok"
    assert {failure["host"] for failure in result["failures"]} == {"BSC"}
    assert len(result["failures"]) >= 1
    assert result["rounds"][-1]["replied"] == ["FORTH", "UB"]
    assert len(result["rounds"]) == 60


def test_clients_fail_when_the_server_goes_away(training: Training, data: Path, write_json: Write) -> None:
    parameters = write_json("parameters.json", LONG)
    training.serve(parameters)
    _all_join(training, data, parameters)
    training.until("round 2:")
    training.server.kill()
    for host in SHARES:
        code, errors = training.ended(host)
        assert code == 3
        assert "the connection to the server ended" in errors


def test_a_host_that_never_joins_is_named(training: Training, data: Path, write_json: Write) -> None:
    parameters = write_json("parameters.json", {"join_seconds": 4})
    training.serve(parameters)
    for host in ("UB", "FORTH"):
        training.join(host, data / host / "wisconsin", parameters)
    code, errors = training.ended()
    assert code == 3
    assert "no good reply from BSC" in errors


def test_two_clients_of_one_name_are_not_taken(training: Training, data: Path, write_json: Write) -> None:
    parameters = write_json("parameters.json", {})
    training.serve(parameters)
    for host in SHARES:
        training.join(host, data / host / "wisconsin", parameters, name="UB")
    code, errors = training.ended()
    assert code == 3
    assert "a client says that it is 'UB'" in errors


def test_hosts_with_different_features_are_refused(
    training: Training, data: Path, write_json: Write, tmp_path: Path
) -> None:
    parameters = write_json("parameters.json", {})
    shutil.copytree(data / "UB/wisconsin", tmp_path / "other")
    description = tmp_path / "other/wisconsin/dataset.json"
    changed = json.loads(description.read_text())
    del changed["columns"][0]
    description.write_text(json.dumps(changed))
    training.serve(parameters)
    for host in SHARES:
        training.join(host, tmp_path / "other" if host == "UB" else data / host / "wisconsin", parameters)
    code, errors = training.ended()
    assert code == 2
    assert "have different features" in errors
    assert training.result()["status"] == "failed"


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("train.csv", None, "train.csv: expected a file that can be read"),
        ("train.csv", "", "the names of the columns in the first line"),
        ("train.csv", "a,b\n1,2\n", "UB: train.csv, line 1, column mean_radius: expected a column 'mean_radius'"),
        ("test.csv", "HEADER\n", "test.csv: expected rows below"),
        ("train.csv", "HEADER\n" + "nan," * 30 + "1\n", "line 2, column mean_radius: expected a number such as 12.5"),
        ("train.csv", "HEADER\n" + "1," * 30 + "\n", "line 2, column malignant: expected a value in each row"),
        ("train.csv", "HEADER\n" + "1," * 30 + "2\n", "line 2, column malignant: expected 1, 1.0, true"),
        ("train.csv", "HEADER\n" + "9," + "1," * 30 + "1\n", "line 2: expected 31 cells"),
        ("train.csv", "HEADER\n" + "1," * 30 + "1\n", "only one value of 'malignant'"),
        ("dataset.json", "{}", "columns: a list of"),
        ("dataset.json", "[", "dataset.json, line 1: expected JSON"),
    ],
)
def test_data_that_cannot_be_right_is_refused(
    flower: ToolProgram, data: Path, tmp_path: Path, write_json: Write, file: str, content: str | None, message: str
) -> None:
    shutil.copytree(data / "UB/wisconsin", tmp_path / "site")
    spoiled = tmp_path / "site/wisconsin" / file
    header = (tmp_path / "site/wisconsin/train.csv").read_text().partition("\n")[0]
    spoiled.unlink()
    if content is not None:
        spoiled.write_text(content.replace("HEADER", header))
    ended = flower.run(
        *("client", "--datasets", tmp_path / "site", "--host", "UB", "--server", "localhost:1"),
        *("--parameters", write_json("parameters.json", {})),
    )
    assert ended.returncode == 2
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"rounds": 0}, "rounds: must be a whole number from 1 to 1000"),
        ({"rounds": 2.5}, "rounds: must be a whole number"),
        ({"learning_rate": True}, "learning_rate: must be a number"),
        ({"target": "age"}, "a column 'age'"),
        ({"target": "mean_radius"}, "target: mean_radius is of type number here; expected a boolean column"),
        ({"features": ["malignant"]}, "features: malignant is of type boolean here; expected numbers"),
        ({"features": ["mean_radius", "mean_radius"]}, "features: must be a list of names of columns, each once"),
        ({"missing": "guess"}, "missing: must be refuse or leave_out"),
        ({"round": 3}, "unknown round"),
        ([], "must be a JSON object"),
    ],
)
def test_parameters_that_cannot_be_met_are_refused(
    flower: ToolProgram, data: Path, write_json: Write, parameters: Any, message: str
) -> None:
    ended = flower.run(
        *("client", "--datasets", data / "UB/wisconsin", "--host", "UB", "--server", "localhost:1"),
        *("--parameters", write_json("parameters.json", parameters)),
    )
    assert ended.returncode == 2
    assert message in ended.stderr


@pytest.mark.parametrize("server", ["localhost:1", "nobody.fedproc.internal:8080", "localhost"])
def test_a_server_that_is_not_there_is_said(flower: ToolProgram, data: Path, write_json: Write, server: str) -> None:
    ended = flower.run(
        *("client", "--datasets", data / "UB/wisconsin", "--host", "UB", "--server", server),
        *("--parameters", write_json("parameters.json", {})),
    )
    assert ended.returncode == 3
    assert "Traceback" not in ended.stderr


# -- tables as hospitals have them

HOSPITALS = {
    "UB": ({"separator": ";", "decimal": ",", "encoding": "windows-1252"}, ("ja", "nein"), ("Größe", "sex", "bad")),
    "BSC": ({"separator": ","}, ("1.0", "0.0"), ("bad", "sex", "Größe")),
    "FORTH": ({"separator": "\t", "encoding": "utf-16"}, ("TRUE", "FALSE"), ("sex", "Größe", "bad")),
}
"""format, spellings of true and false, order of the columns"""


def _hospital(folder: Path, host: str, chance: Any) -> None:
    form, (true, false), order = HOSPITALS[host]
    columns = [
        {"name": "bad", "type": "boolean", "true": [true], "false": [false]},
        {"name": "size", "type": "number", "header": "Größe"},
        {"name": "sex", "type": "category", "values": ["f", "m"], "spellings": {"m": ["M"]}},
    ]
    lines = [form["separator"].join(f" {name} " for name in order)]
    for row in range(60):
        size = round(float(chance.normal(5, 2)), 2)
        cells = {"Größe": str(size).replace(".", form.get("decimal", ".")), "sex": "fmM"[row % 3]}
        cells["bad"] = true if size + (row % 3 == 0) > 5 else false
        if row == 7:
            cells["Größe"] = "NA"
        lines.append(form["separator"].join(cells[name] for name in order))
    folder.mkdir(parents=True)
    described = {"version": "1", "tables": {"cohort": "export.csv"}, "format": form, "columns": columns}
    (folder / "dataset.json").write_text(json.dumps(described))
    (folder / "export.csv").write_bytes(
        "\r\n".join([*lines, form["separator"] * 2]).encode(form.get("encoding", "utf-8"))
    )


def test_hospitals_with_different_dialects_train_one_model_on_named_columns(
    training: Training, tmp_path: Path, write_json: Write
) -> None:
    chance = np.random.default_rng(3)
    parameters = write_json(
        "parameters.json", {"target": "bad", "features": ["size", "sex"], "missing": "leave_out", "rounds": 10}
    )
    training.serve(parameters)
    for host in SHARES:
        _hospital(tmp_path / host / "cohort", host, chance)
        training.join(host, tmp_path / host, parameters)
    assert training.ended()[0] == 0
    model = np.load(training.output / "model.npz", allow_pickle=False)
    assert model["features"].tolist() == ["size", "sex=m"]
    assert model["coef"][0] > 0 > model["coef"][1]
    assert training.result()["rounds"][-1]["accuracy"] > 0.8


def test_rows_with_a_missing_value_are_refused_unless_they_may_be_left_out(
    flower: ToolProgram, tmp_path: Path, write_json: Write
) -> None:
    _hospital(tmp_path / "UB/cohort", "UB", np.random.default_rng(3))
    ended = flower.run(
        *("client", "--datasets", tmp_path / "UB", "--host", "UB", "--server", "localhost:1"),
        *("--parameters", write_json("parameters.json", {"target": "bad"})),
    )
    assert ended.returncode == 2
    assert "UB: export.csv, line 9, column size: expected a value in each row; with missing=leave_out" in ended.stderr


# -- the demonstrator's clinical data, where it is at hand

CLINICAL = "FEDPROC_DEMONSTRATOR"
"""names a folder with z3_1.csv to z3_3.csv: rexposome's example as EUCAIM dealt it out; it is not in the repository"""


def test_the_demonstrators_clinical_data_is_described_as_it_is_and_trained_on(
    training: Training, tmp_path: Path, write_json: Write
) -> None:
    source = os.environ.get(CLINICAL)
    if not source:
        pytest.skip(f"{CLINICAL} names no folder with the demonstrator's clinical data (z3_1.csv to z3_3.csv)")
    wanted = {"target": "wheezing", "features": ["PM25", "age", "cbmi", "sex"], "missing": "leave_out", "rounds": 10}
    parameters = write_json("parameters.json", wanted)
    training.serve(parameters)
    for number, host in enumerate(SHARES, 1):
        folder = tmp_path / host / "clinical"
        folder.mkdir(parents=True)
        shutil.copyfile(Path(source) / f"z3_{number}.csv", folder / f"z3_{number}.csv")
        proposal = propose(folder)
        assert len(proposal.description["columns"]) == 97 + 1
        (folder / "dataset.json").write_text(json.dumps(proposal.description))
        check_dataset(folder)
        training.join(host, tmp_path / host, parameters)
    code, errors = training.ended()
    assert (code, errors) == (0, "")
    losses = [entry["loss"] for entry in training.result()["rounds"]]
    assert losses == sorted(losses, reverse=True)
    model = np.load(training.output / "model.npz", allow_pickle=False)
    assert model["features"].tolist() == ["PM25", "age", "cbmi", "sex=male"]

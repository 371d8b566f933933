"""A server that asks for more than a training has, and a client that sends rows as weights: each gets nothing."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.plan_servers import FakeServer, answer_as_host
from tests.support.pooling_runs import write_dataset
from tests.support.rounds_runs import RoundsRun
from tests.support.tool_programs import ToolProgram

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
"""The environments of the tools are built from their lock files once, which can take minutes."""

SERVER = """
import json, sys, threading, time
import numpy as np
from flwr.common import FitIns, EvaluateIns, Parameters, ndarrays_to_parameters
from flwr.server import SimpleClientManager
from flwr.server.superlink.fleet.grpc_bidi.grpc_server import start_grpc_server
port, asked = int(sys.argv[1]), json.loads(sys.argv[2])
clients = SimpleClientManager()
listener = start_grpc_server(clients, f"127.0.0.1:{port}", max_concurrent_workers=4, max_message_length=1 << 24)
print("listening", flush=True)
clients.wait_for(1, 60)
[client] = clients.all().values()
replies = []
for what in asked:
    model = [np.array(array, dtype=np.float64) for array in what.get("model", [])]
    config = {"phase": "moments"} if what["ask"] == "moments" else {"round": 1}
    try:
        if what["ask"] == "evaluate":
            reply = client.evaluate(EvaluateIns(ndarrays_to_parameters(model), config), 20, 0)
        else:
            reply = client.fit(FitIns(ndarrays_to_parameters(model), config), 20, 0)
        replies.append(reply.num_examples)
    except Exception as fault:
        replies.append(type(fault).__name__)
        break
print(json.dumps(replies), flush=True)
listener.stop(grace=0).wait()
"""
MODEL = [[0.0], [0.0], [0.0, 0.0], [1.0, 1.0]]
TRAIN = {"ask": "fit", "model": MODEL}

CLIENT = """
import sys
import numpy as np
from flwr.client import NumPyClient, start_client
port, rows = int(sys.argv[1]), int(sys.argv[2])
class Liar(NumPyClient):
    def fit(self, parameters, config):
        if config.get("phase") == "moments":
            return [np.zeros(2), np.ones(2)], 60, {"host": "BSC", "features": "a\\ny"}
        return [np.arange(rows * 2.0).reshape(rows, 2), *parameters[1:]], 60, {"host": "BSC"}
    def evaluate(self, parameters, config):
        return 0.0, 60, {"host": "BSC", "loss": 0.0, "test_rows": 0}
start_client(server_address=f"127.0.0.1:{port}", client=Liar().to_client())
"""


@pytest.fixture
def datasets(tmp_path: Path) -> dict[str, Path]:
    """Sixty persons at each of two hosts."""
    columns = [{"name": name, "type": "number"} for name in ("a", "y")]
    rows = [[number / 7, number % 11] for number in range(60)]
    return {host: write_dataset(tmp_path / host, columns, rows) for host in ("UB", "BSC")}


@pytest.fixture
def run(flower_clinical: ToolProgram, datasets: dict[str, Path], tmp_path: Path) -> Iterator[RoundsRun]:
    made = RoundsRun(flower_clinical, datasets, tmp_path / "run")
    made.ask(formula="y ~ a", rounds=1, join_seconds=60, round_seconds=20)
    yield made
    made.close()


def _script(tool: ToolProgram, code: str, *arguments: Any) -> subprocess.Popen[str]:
    command = [*tool.python, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, env=tool.variables(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ([{"ask": "moments"}, {"ask": "moments"}], "asks for more than was agreed: another moments"),
        ([{"ask": "moments"}, TRAIN, TRAIN], "asks for more than was agreed: another training"),
        ([{"ask": "fit", "model": [[[1.0] * 60] * 60, [0.0], [0.0, 0.0], [1.0, 1.0]]}], "a model of another shape"),
        ([{"ask": "fit", "model": [["nan"], [0.0], [0.0, 0.0], [1.0, 1.0]]}], "numbers that are not finite"),
        ([{"ask": "evaluate", "model": MODEL}, {"ask": "evaluate", "model": MODEL}], "another measurement"),
    ],
)
def test_flowers_client_ends_when_it_is_asked_for_more(
    run: RoundsRun, asked: list[dict[str, Any]], message: str
) -> None:
    server = _script(run.tool, SERVER, run.port, json.dumps(asked))
    try:
        assert server.stdout is not None
        assert server.stdout.readline() == "listening\n"
        run.join("UB")
        replies = json.loads(server.stdout.readline())
        code, errors = run.ended("UB")
    finally:
        server.kill()
        server.communicate()
    assert len(replies) == len(asked)
    assert replies[:-1] == [60] * (len(asked) - 1)
    assert not isinstance(replies[-1], int), "the last reply has something in it"
    assert code == 3
    assert message in errors
    assert "Traceback" not in errors


@pytest.mark.parametrize("rows", [60, 100_000])
def test_rows_in_the_place_of_weights_end_the_training_and_name_the_host(run: RoundsRun, rows: int) -> None:
    run.serve()
    run.join("UB")
    liar = _script(run.tool, CLIENT, run.port, rows)
    try:
        code, errors = run.ended()
    finally:
        liar.kill()
        liar.communicate()
    assert code == 3
    assert "BSC: reply not used: the arrays have another shape or type" in errors
    assert "no good reply from BSC" in errors
    assert not (run.output / "model.npz").exists()


# -- Substra's SDK


def _task(number: int, shared: Any = None, **more: Any) -> dict[str, Any]:
    return {"round": number, "task": "train", "shared": shared, **more}


AVERAGE = {"coefficients": [0.0], "intercept": [0.0]}


@pytest.mark.parametrize(
    ("replies", "trained", "message"),
    [
        ([_task(1), _task(2, AVERAGE), _task(3, AVERAGE)], 2, "asks for more than the plan's 2 trainings"),
        ([_task(1, AVERAGE)], 0, "tells an average before the first training"),
        ([_task(1), _task(2, {"coefficients": [0.0] * 60, "intercept": [0.0]})], 1, "no average of such a model"),
        ([_task(1), _task(2, "gASVCgAAAAAAAACMBm9z")], 1, "no average of such a model"),
        ([_task(1, archive="gASV")], 0, "asks for something else than the plan has"),
        ([_task(1), _task(2, task="evaluate")], 1, "asks for a task that the plan does not have"),
        ([_task(1, task="rows")], 0, "asks for a task that the plan does not have"),
        ([_task(1), _task(1, AVERAGE)], 1, "asks for something else than the plan has"),
    ],
)
def test_substras_worker_does_the_plans_trainings_and_no_other(
    substra_clinical: ToolProgram,
    datasets: dict[str, Path],
    tmp_path: Path,
    replies: list[dict[str, Any]],
    trained: int,
    message: str,
) -> None:
    run = RoundsRun(substra_clinical, datasets, tmp_path / "run")
    run.ask(formula="y ~ a")
    server = FakeServer(replies)
    run.port = server.port
    try:
        run.join("UB")
        code, errors = run.ended("UB")
    finally:
        server.close()
        run.close()
    assert code == 3
    assert message in errors
    assert "Traceback" not in errors
    answers = [told["answer"] for told in server.told[1:]]
    assert [set(answer) for answer in answers] == [{"n", "update"}] * trained
    assert all({name: len(values) for name, values in answer["update"].items()} == {"coefficients": 1, "intercept": 1}
               for answer in answers)  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"n": 60, "update": {"coefficients": [1.0] * 60, "intercept": [0.0]}}, "coefficients must be"),
        ({"n": 60, "update": AVERAGE, "rows": [[1.0, 2.0]]}, "rows: missing, or more"),
        ({"n": 60_000, "update": AVERAGE}, "n is not what was asked for"),
        ({"n": 60, "update": "gASVCgAAAAAAAACMBm9z"}, "update must be an object"),
    ],
)  # fmt: skip
def test_substras_server_takes_no_update_of_another_shape(
    substra_clinical: ToolProgram, datasets: dict[str, Path], tmp_path: Path, answer: dict[str, Any], message: str
) -> None:
    run = RoundsRun(substra_clinical, datasets, tmp_path / "run")
    run.ask(formula="y ~ a", join_seconds=60)
    try:
        run.serve()
        request = {"formula": "y ~ a", "min_cell": 10}
        hello = {"schema_version": 1, "request": request, "names": ["a", "y"], "n": 60}
        for host in datasets:
            threading.Thread(target=answer_as_host, args=(run.port, host, hello, answer), daemon=True).start()
        code, errors = run.ended()
    finally:
        run.close()
    assert code == 2
    assert message in errors
    assert "Traceback" not in errors

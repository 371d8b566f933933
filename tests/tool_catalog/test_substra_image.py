"""``substra-image``: the demonstrator's network by SubstraFL's plan over DICOM at three hosts, and how it ends."""

from __future__ import annotations

import base64
import json
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.support.plan_servers import FakeServer, answer_as_host
from tests.support.rounds_runs import RoundsRun
from tests.support.tool_programs import ToolProgram

from fedproc.demo.data import SHARES

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
"""The environment of the tool is built from its lock file once, which can take minutes."""

QUICK = {"size": 16, "rounds": 2, "updates": 6, "batch": 16}
DISTANCE = 0.25
"""the farthest that held-out accuracy may be from that of the training on all images in one place"""
UNDETERMINED = {"conv1.bias", "conv3.bias", "norm1.mean", "norm3.mean"}
"""A norm takes these biases away again: their gradients are rounding errors, which Adam makes as large as any other."""

BY_HAND = """
import json, sys
from pathlib import Path
import numpy as np
import network
from algo import NetworkTraining
from patches.images import read_site
from patches.measures import measure, together
from request import Request
given, *folders = json.loads(sys.argv[1])
request = Request(**given)
sites = [read_site(Path(folder), request.size, request.every, request.min_persons) for folder in folders]
def training():
    return NetworkTraining(request.size, request.seed, request.updates, request.batch, request.learning_rate)
made, model = [training() for _ in sites], network.start(request.size, request.seed)
shared, rows = None, np.array([len(site.train.labels) for site in sites])
told = []
for number in range(request.rounds + 1):
    states = [one.train(data_from_opener=site, shared_state=shared, _skip=True) for one, site in zip(made, sites)]
    if number:
        told.append([[one.loss, one.test_loss, one.accuracy] for one in (measure(model, site) for site in sites)])
    updates = zip(*(state.parameters_update for state in states))
    average = [np.average(parts, axis=0, weights=rows) for parts in updates]
    shared = type("Average", (), {"avg_parameters_update": [part.astype(np.float32) for part in average]})
    if number < request.rounds:
        model = [before + update for before, update in zip(model, shared.avg_parameters_update)]
alone, everything = training(), together(sites)
for number in range(request.rounds):
    alone.parameters = [before + update for before, update in zip(
        alone.parameters, alone.train(data_from_opener=everything, _skip=True).parameters_update)]
np.savez(sys.argv[2], **dict(zip(network.NAMES, model)))
print(json.dumps({"told": told, "pooled": vars(measure(alone.parameters, everything))}))
"""


@pytest.fixture
def run(substra_image: ToolProgram, data: Path, tmp_path: Path) -> Iterator[RoundsRun]:
    """The demo's images at three hosts."""
    made = RoundsRun(substra_image, {host: data / host / "synthetic-lesions" for host in SHARES}, tmp_path / "run")
    yield made
    made.close()


@pytest.fixture
def example(substra_image: ToolProgram, tmp_path: Path) -> Iterator[RoundsRun]:
    """The example's images at two hosts."""
    images = substra_image.folder / "test/example_input/client/input/images"
    made = RoundsRun(substra_image, dict.fromkeys(("UB", "BSC"), images), tmp_path / "run")
    yield made
    made.close()


def test_three_hosts_train_what_federated_averaging_by_hand_gives_near_the_network_of_all_images(
    run: RoundsRun, tmp_path: Path
) -> None:
    result = run.run(**QUICK)
    folders = [str(run.datasets[host]) for host in sorted(run.datasets)]
    variables = {**run.tool.variables(), "PYTHONPATH": str(run.tool.folder / "source")}
    ended = subprocess.run(
        [*run.tool.python, "-c", BY_HAND, json.dumps([QUICK, *folders]), tmp_path / "by_hand.npz"],
        env=variables, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    by_hand, expected = json.loads(ended.stdout), np.load(tmp_path / "by_hand.npz")
    model = np.load(run.output / "model.npz", allow_pickle=False)
    assert model.files == expected.files
    assert all(model[name].dtype == np.float32 for name in model.files)
    for name in set(model.files) - UNDETERMINED:
        np.testing.assert_allclose(model[name], expected[name], rtol=1e-2, atol=1e-3, err_msg=name)
    rounds = result["rounds"]
    sites = [[[site[name] for name in ("loss", "test_loss", "accuracy")] for site in one["sites"]] for one in rounds]
    np.testing.assert_allclose(sites, by_hand["told"], rtol=1e-2)
    assert [[site["host"] for site in one["sites"]] for one in rounds] == [sorted(SHARES)] * QUICK["rounds"]
    assert [one["round"] for one in rounds] == [1, 2]
    assert rounds[-1]["loss"] < rounds[0]["loss"]
    assert abs(rounds[-1]["accuracy"] - by_hand["pooled"]["accuracy"]) <= DISTANCE
    assert rounds[-1]["test_rows"] == 60
    told = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    assert [(line["round"], line["accuracy"]) for line in told] == [(one["round"], one["accuracy"]) for one in rounds]


def test_the_example_gives_the_example_output(substra_image: ToolProgram, tmp_path: Path) -> None:
    folder = substra_image.folder / "test"
    run = RoundsRun(substra_image, {"UB": folder / "example_input/client/input/images"}, tmp_path)
    try:
        found = run.run(**json.loads((folder / "example_input/server/parameters.json").read_text()))
    finally:
        run.close()
    expected = json.loads((folder / "example_output/server/result.json").read_text())
    assert found.keys() == expected.keys()
    losses = [entry["loss"] for entry in expected["rounds"]]
    assert [entry["loss"] for entry in found["rounds"]] == pytest.approx(losses, rel=0.05)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_a_host_that_is_lost_ends_the_plan_and_is_named(example: RoundsRun, how: signal.Signals) -> None:
    example.ask(size=8, rounds=20, updates=20, batch=8, task_seconds=8)
    example.serve()
    for host in example.datasets:
        example.join(host)
    assert example.server is not None
    assert example.server.stdout is not None
    assert any("round 1:" in line for line in example.server.stdout)
    example.clients["BSC"].send_signal(how)
    code, errors = example.ended()
    assert code == 3
    assert "no answer of BSC within 8 s" in errors
    assert "Traceback" not in errors
    result = json.loads((example.output / "result.json").read_text())
    assert result["status"] == "failed"
    assert not (example.output / "model.npz").exists()
    assert example.ended("UB")[0] == 3


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"size": 17}, "size: must be even"),
        ({"updates": 0}, "updates: must be a whole number from 1 to 1000"),
        ({"min_persons": 40}, "fewer than 40 persons (min_persons) have a lesion"),
        ({"local_epochs": 3}, "unknown local_epochs"),
    ],
)
def test_parameters_that_cannot_be_met_are_refused(
    example: RoundsRun, parameters: dict[str, Any], message: str
) -> None:
    example.ask(**parameters)
    example.join("UB")
    code, errors = example.ended("UB")
    assert code == 2
    assert message in errors
    assert "Traceback" not in errors


# -- a server that asks for more, and a host that sends rows as weights


def _floats(count: int, value: float = 0.0) -> dict[str, str]:
    return {"arrays": base64.b64encode(np.full(count, value, "<f4").tobytes()).decode()}


def _task(number: int, task: str = "train", shared: Any = None) -> dict[str, Any]:
    return {"round": number, "task": task, "shared": shared}


NUMBERS = 3 * 9 * 12 + 12 * 9 * 20 + 20 * 9 * 32 + (12 + 20 + 32) + 4 * 12 + 4 * 32 + 2 * (32 * 4 * 4 + 1)
"""of the network at 8 pixels"""
AVERAGE = _floats(NUMBERS)


@pytest.mark.parametrize(
    ("replies", "answered", "message"),
    [
        ([_task(1), _task(2, shared=AVERAGE), _task(3, shared=AVERAGE)], 2, "more than the plan's 2 trainings"),
        ([_task(1), _task(2, "evaluate"), _task(3, "evaluate")], 2, "more than the plan's 1 evaluations"),
        ([_task(1, "evaluate")], 0, "asks for measures before the first training"),
        ([_task(1), _task(2, "evaluate", AVERAGE)], 1, "or of a model of its own"),
        ([_task(1, shared=AVERAGE)], 0, "tells an average before the first training"),
        ([_task(1), _task(2, shared=_floats(NUMBERS + 1))], 1, "tells no average of such a model"),
        ([_task(1), _task(2, shared=_floats(NUMBERS, np.nan))], 1, "tells no average of such a model"),
        ([_task(1), _task(2, shared={"arrays": "gASVCgAAAA=="})], 1, "tells no average of such a model"),
        ([_task(1, "patches")], 0, "asks for a task that the plan does not have"),
    ],
)
def test_worker_does_the_plans_tasks_and_no_other(
    example: RoundsRun, replies: list[dict[str, Any]], answered: int, message: str
) -> None:
    example.ask(size=8, rounds=1, updates=2, batch=8)
    server = FakeServer(replies)
    example.port = server.port
    try:
        example.join("UB")
        code, errors = example.ended("UB")
    finally:
        server.close()
    assert code == 3
    assert message in errors
    assert "Traceback" not in errors
    answers = [told["answer"] for told in server.told[1:]]
    assert [set(answer) in ({"n", "update"}, {"measured"}) for answer in answers] == [True] * answered
    assert all(len(answer["update"]["arrays"]) < 4 * NUMBERS * 1.4 for answer in answers if "update" in answer)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"n": 30, "update": _floats(3 * 8 * 8 * 30)}, "arrays must be"),
        ({"n": 30, "update": _floats(NUMBERS, np.inf)}, "arrays must be finite numbers"),
        ({"n": 30, "update": AVERAGE, "patches": [[1.0, 2.0]]}, "patches: missing, or more"),
        ({"n": 30_000, "update": AVERAGE}, "n is not what was asked for"),
        ({"n": 30, "update": "gASVCgAAAAAAAACMBm9z"}, "update must be an object"),
    ],
)
def test_server_takes_no_patches_as_weights(example: RoundsRun, answer: dict[str, Any], message: str) -> None:
    example.ask(size=8, rounds=1, updates=2, batch=8, join_seconds=60)
    example.serve()
    request = {"size": 8, "rounds": 1, "updates": 2, "batch": 8, "learning_rate": 0.001, "every": 4, "min_persons": 5}
    hello = {"schema_version": 1, "request": {**request, "seed": 42}, "train_rows": 30, "test_rows": 10}
    for host in example.datasets:
        threading.Thread(target=answer_as_host, args=(example.port, host, hello, answer), daemon=True).start()
    code, errors = example.ended()
    assert code == 2
    assert message in errors
    assert "Traceback" not in errors
    assert not (example.output / "model.npz").exists()

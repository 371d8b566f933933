"""``flower-image``: the demonstrator's network over DICOM at three hosts, beside its own training on all images."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.support.rounds_runs import RoundsRun
from tests.support.tool_programs import ToolProgram

from fedproc.demo.data import SHARES

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
"""The environment of the tool is built from its lock file once, which can take minutes."""

QUICK = {"size": 16, "rounds": 3, "local_epochs": 2}
DISTANCE = 0.2
"""the farthest that held-out accuracy may be from that of the training on all images in one place"""

POOLED = """
import json, sys
from pathlib import Path
import network
from learner import Learner
from patches.images import read_site
from patches.measures import together
from request import Request
given, *folders = json.loads(sys.argv[1])
request = Request(**given)
sites = [read_site(Path(folder), request.size, request.every, request.min_persons) for folder in folders]
learner = Learner(together(sites), request)
arrays = network.start(request.size, request.seed)
first = learner.measure(arrays)
for number in range(1, request.rounds + 1):
    arrays = learner.train(arrays, number)
last = learner.measure(arrays)
print(json.dumps([first.loss, last.loss, last.accuracy, last.test_rows]))
"""


@pytest.fixture
def run(flower_image: ToolProgram, data: Path, tmp_path: Path) -> Iterator[RoundsRun]:
    """The demo's images at three hosts."""
    made = RoundsRun(flower_image, {host: data / host / "synthetic-lesions" for host in SHARES}, tmp_path)
    yield made
    made.close()


def _python(tool: ToolProgram, code: str, *arguments: str) -> str:
    """What a script prints that imports the tool's modules."""
    variables = {**tool.variables(), "PYTHONPATH": str(tool.folder / "source")}
    ended = subprocess.run(
        [*tool.python, "-c", code, *arguments], env=variables, capture_output=True, text=True, timeout=300, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_three_hosts_train_a_network_that_is_near_the_one_of_all_images(run: RoundsRun) -> None:
    result = run.run(**QUICK)
    folders = [str(folder) for folder in run.datasets.values()]
    first, last, accuracy, held_out = json.loads(_python(run.tool, POOLED, json.dumps([QUICK, *folders])))
    rounds = result["rounds"]
    assert rounds[-1]["loss"] < rounds[0]["loss"] < first
    assert rounds[-1]["loss"] < 2 * max(last, 0.3)
    assert abs(rounds[-1]["accuracy"] - accuracy) <= DISTANCE
    assert rounds[-1]["accuracy"] > 0.6
    assert rounds[-1]["test_rows"] == held_out == 60
    assert all(entry["replied"] == sorted(SHARES) for entry in rounds)
    told = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    assert [entry["accuracy"] for entry in told] == [entry["accuracy"] for entry in rounds]
    model = np.load(run.output / "model.npz", allow_pickle=False)
    assert model["linear.weight"].shape == (2, 32 * 8 * 8)
    assert all(model[name].dtype == np.float32 for name in model.files)


def test_at_224_pixels_it_is_the_demonstrators_network(flower_image: ToolProgram) -> None:
    code = "import network; print(network.parameters(network.start(224, 0)))"
    assert _python(flower_image, code).strip() == "811214"


def test_its_gradients_are_those_of_its_loss(flower_image: ToolProgram) -> None:
    """Against differences of the loss, in double precision."""
    code = """
import numpy as np, network
network._f32 = lambda values: np.asarray(values, dtype=np.float64)
chance = np.random.default_rng(0)
arrays = [array.astype(np.float64) for array in network.start(8, 1)]
images, labels = chance.normal(size=(4, 3, 8, 8)), np.array([0, 1, 1, 0])
def loss(arrays, training):
    found = network._Pass([a.copy() for a in arrays], training=training).forward(images)
    return network.losses(found, labels).mean()
class Kept:
    def step(self, arrays, gradients):
        self.gradients = gradients
kept = Kept()
network.train_batch([a.copy() for a in arrays], images, labels, kept)
for training, found in ((True, kept.gradients), (False, network.gradients(arrays, images, labels))):
    for number in range(network.LEARNED):
        for _ in range(3):
            at = tuple(chance.integers(0, size) for size in arrays[number].shape)
            sides = []
            for step in (1e-5, -1e-5):
                moved = [a.copy() for a in arrays]
                moved[number][at] += step
                sides.append(loss(moved, training))
            slope = (sides[0] - sides[1]) / 2e-5
            assert abs(found[number][at] - slope) < 1e-6, (training, network.NAMES[number], at)
print("equal")
"""
    assert _python(flower_image, code).strip() == "equal"


PERSONS = """
import sys
from pathlib import Path
import network
import numpy as np
from patches.images import read_site
from private_averaging import noise
from private_learner import PrivateLearner
from request import Request
site = read_site(Path(sys.argv[1]), 8, 4, 5)
noise.normal = np.zeros
request = Request(size=8, rounds=1, local_epochs=1, epsilon=4, delta=1e-5, clip=10)
learner = PrivateLearner(site, request)
assert learner.rows == site.train.persons == len(set(site.train.whose.tolist())) < len(site.train.labels)
moments = learner.moments()
assert (moments.n, moments.mean.tolist(), moments.deviation().tolist()) == (learner.rows, [0.5], [0.5])
arrays = network.start(8, 42)
each = []
for person in range(learner.rows):
    own = np.flatnonzero(site.train.whose == person)
    found = [network.gradients(arrays, site.train.images[[n]], site.train.labels[[n]]) for n in own]
    each.append(np.mean([np.concatenate([part.ravel() for part in parts]) for parts in found], axis=0))
lengths = np.linalg.norm(each, axis=1)
assert (lengths > 10).any() and (lengths < 10).any(), lengths
mean = (np.array(each) * np.minimum(1, 10 / lengths)[:, None]).mean(axis=0)
expected = [array.copy() for array in arrays]
parts = np.split(mean.astype(np.float32), np.cumsum([a.size for a in arrays[:network.LEARNED]])[:-1])
network.Adam(0.001).step(expected, [part.reshape(a.shape) for part, a in zip(parts, arrays)])
class Kept(network.Adam):
    def step(self, arrays, gradients):
        np.testing.assert_allclose(np.concatenate([g.ravel() for g in gradients]), mean, rtol=1e-3, atol=1e-6)
        super().step(arrays, gradients)
network.Adam = Kept
learned = learner.train(arrays, 1)
for before, after in zip(arrays[network.LEARNED:], learned[network.LEARNED:]):
    assert (before == after).all(), "running moments tell of nobody"
measured = learner.measure(learned)
assert (measured.train_rows, measured.test_rows) == (site.train.persons, site.test.persons)
assert 0 < measured.loss <= 4 and 0 <= measured.accuracy <= 1
print("equal")
"""


def test_gradients_are_clipped_by_person_and_none_depends_on_another(flower_image: ToolProgram) -> None:
    example = flower_image.folder / "test/example_input/client/input/images"
    assert _python(flower_image, PERSONS, str(example)).strip() == "equal"


def test_persons_are_protected_and_hosts_are_averaged_by_masks_where_both_are_asked_for(run: RoundsRun) -> None:
    result = run.run(
        size=8, rounds=2, local_epochs=2, epsilon=8, delta=1e-5, clip=0.5, secure_aggregation=True,
        join_seconds=280, round_seconds=200,
    )  # fmt: skip
    told, last = result["model"]["privacy"], result["rounds"][-1]
    assert (told["steps"], told["clip"], told["delta"]) == (2 * (2 + 1), 0.5, 1e-5)
    assert 7.9999 < told["epsilon"] <= 8
    assert told["train_rows"] == last["train_rows"] == result["model"]["train_rows"]
    assert last["replied"] == sorted(SHARES)
    model = np.load(run.output / "model.npz", allow_pickle=False)
    np.testing.assert_allclose(model["norm1.variance"], 1, atol=1e-4)


def test_the_example_gives_the_example_output(flower_image: ToolProgram, tmp_path: Path) -> None:
    example = flower_image.folder / "test"
    run = RoundsRun(flower_image, {"UB": example / "example_input/client/input/images"}, tmp_path)
    try:
        found = run.run(**json.loads((example / "example_input/server/parameters.json").read_text()))
    finally:
        run.close()
    expected = json.loads((example / "example_output/server/result.json").read_text())
    assert [entry.keys() for entry in found["rounds"]] == [entry.keys() for entry in expected["rounds"]]
    losses = [entry["loss"] for entry in expected["rounds"]]
    assert [entry["loss"] for entry in found["rounds"]] == pytest.approx(losses, rel=0.05)


REFUSED = {
    "size: must be even": {"size": 17},
    "size: must be a whole number from 8 to 224": {"size": 500},
    "fewer than 40 persons (min_persons) have a lesion": {"min_persons": 40},
    "unknown epochs": {"epochs": 3},
    "epsilon and delta: differential privacy needs both": {"epsilon": 1.0},
    "clip: must be a number from 1e-06": {"clip": 0, "epsilon": 1.0, "delta": 1e-5},
}


def test_parameters_that_cannot_be_met_are_refused(run: RoundsRun) -> None:
    for message, (code, errors) in zip(REFUSED, run.refusals("UB", list(REFUSED.values())), strict=True):
        assert (code, message in errors, "Traceback" in errors) == (2, True, False), (message, errors)


Spoil = Callable[[Path], Any]


def test_files_that_are_no_images_or_broken_ones_are_passed_over(run: RoundsRun, tmp_path: Path) -> None:
    folder = tmp_path / "odd"
    shutil.copytree(run.datasets["UB"], folder)
    first, second, third = sorted(folder.rglob("image.dcm"))[:3]
    first.write_bytes(first.read_bytes()[:900])
    second.write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 300)
    third.with_name("notes.txt").write_bytes(b"\0" * 4)
    (folder / "export.zip").write_bytes(b"PK\3\4")
    code = """
import sys
from pathlib import Path
from patches.images import read_site
site = read_site(Path(sys.argv[1]), 16, 4, 5)
print(site.train.persons + site.test.persons, len(site.train.labels) + len(site.test.labels))
"""
    assert _python(run.tool, code, str(folder)).split() == ["42", "84"]

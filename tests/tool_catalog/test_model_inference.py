"""``model-inference``: its measures against scikit-learn's, a public ONNX model, and models that mean harm."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.metrics import roc_auc_score
from tests.support.onnx_files import logistic, model, node, tensor, tensor_elsewhere
from tests.support.pooling_runs import assert_same_json, write_dataset
from tests.support.tool_programs import ToolProgram

from fedproc.catalog.folder import load_tool
from fedproc.demo.imaging import PERSONS
from fedproc.site.policy.engine.engine import inspect
from fedproc.site.policy.engine.known import Known

pytestmark = [pytest.mark.process, pytest.mark.slow]

Write = Callable[[str, Any], Path]
WEIGHTS, BIAS = (1.0, -2.0), 0.5
COLUMNS = [
    {"name": "a", "type": "number"},
    {"name": "b", "type": "number"},
    {"name": "ill", "type": "boolean", "true": ["1"], "false": ["0"]},
]
IRIS = "logreg_iris.onnx"
"""a public model: logistic regression of three species on two measures, as onnxruntime ships it (MIT)"""


class Inference:
    """One site's run."""

    def __init__(self, tool: ToolProgram, root: Path) -> None:
        self.tool, self.root = tool, root
        self.model, self.output, self.datasets = root / "model", root / "output", root / "datasets"
        self.model.mkdir()
        self.output.mkdir()

    def give(self, content: bytes, name: str = "model.onnx") -> None:
        (self.model / name).write_bytes(content)
        self.sha256 = hashlib.sha256(content).hexdigest()

    def ended(self, **parameters: Any) -> subprocess.CompletedProcess[str]:
        (self.root / "parameters.json").write_text(json.dumps({"sha256": self.sha256, **parameters}))
        given = ("--model", self.model, "--datasets", self.datasets, "--host", "UB")
        more = ("--parameters", self.root / "parameters.json", "--output", self.output)
        return self.tool.run("predict", *given, *more, cwd=self.root)

    def told(self, **parameters: Any) -> dict[str, Any]:
        ended = self.ended(**parameters)
        assert ended.returncode == 0, ended.stderr
        return dict(json.loads((self.output / "metrics.json").read_text()))

    def fault(self, **parameters: Any) -> str:
        ended = self.ended(**parameters)
        assert ended.returncode == 2, ended.stderr
        assert "Traceback" not in ended.stderr
        assert list(self.output.iterdir()) == []
        return ended.stderr


@pytest.fixture
def site(inference: ToolProgram, tmp_path: Path) -> Inference:
    return Inference(inference, tmp_path)


def made_rows(count: int, seed: int = 1) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Two measures, the model's probability, and an outcome that goes by it."""
    chance = np.random.default_rng(seed)
    x = np.round(chance.normal(size=(count, 2)), 3)
    probability = 1 / (1 + np.exp(-(x @ np.array(WEIGHTS) + BIAS)))
    return x, probability, chance.random(count) < probability


def write_rows(folder: Path, x: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> None:
    write_dataset(folder, COLUMNS, [[*row, int(truth)] for row, truth in zip(x.tolist(), y, strict=True)])


def against(tool: ToolProgram, told: Mapping[str, Any], folder: Path, floor: int = 10) -> dict[str, str]:
    """What the rules of a host have against a document in the place of the output."""
    (task,) = load_tool(tool.folder).tool.tasks
    folder.mkdir(exist_ok=True)
    (folder / "metrics.json").write_text(json.dumps(told))
    known = {"order": lambda: ["UB"], "parameters": lambda: [told["model"]["sha256"]]}
    return {each.rule.id: str(each.result) for each in inspect(task.outputs[0], folder, floor, Known(known))}


def share(told: dict[str, Any], what: str) -> dict[str, Any]:
    (found,) = [one for one in told["shares"] if one["what"] == what]
    return dict(found)


ASKED = {"features": ["a", "b"], "outcome": "ill"}


def test_measures_are_those_of_scikit_learn(site: Inference, tmp_path: Path) -> None:
    x, probability, y = made_rows(300)
    write_rows(site.datasets, x, y)
    site.give(logistic(WEIGHTS, BIAS))
    told = site.told(**ASKED)
    over = probability >= 0.5
    assert share(told, "sensitivity")["share"] == pytest.approx(over[y].mean(), abs=0.051)
    assert share(told, "specificity")["share"] == pytest.approx((~over)[~y].mean(), abs=0.051)
    assert share(told, "accuracy")["share"] == pytest.approx((over == y).mean(), abs=0.026)
    (found,) = told["discrimination"]
    assert found["auc"] == pytest.approx(roc_auc_score(y, probability), abs=0.005)
    assert (found["positives"], found["negatives"]) == (y.sum(), (~y).sum())
    edges = [-0.1, *np.arange(1, 10) / 10, 1.1]
    for cell in told["calibration"]:
        here = (probability >= edges[cell["first"]]) & (probability < edges[cell["last"] + 1])
        assert cell["persons"] == here.sum() // 10 * 10
        assert cell["share"] == pytest.approx(y[here].mean(), abs=0.26)
    assert 250 < sum(cell["persons"] for cell in told["calibration"]) <= 300
    assert against(site.tool, told, tmp_path / "sealed") == {}


def test_npz_of_flower_logistic_names_its_features(site: Inference) -> None:
    x, probability, y = made_rows(200)
    write_rows(site.datasets, x, y)
    packed = io.BytesIO()
    arrays = {
        "coef": np.array(WEIGHTS) * 2,
        "intercept": np.array([BIAS]),
        "mean": np.zeros(2),
        "scale": np.full(2, 2.0),
    }
    np.savez(packed, features=np.array(["a", "b"]), **arrays)
    site.give(packed.getvalue(), "model.npz")
    told = site.told(outcome="ill")
    assert told["model"]["format"] == "npz"
    assert share(told, "accuracy")["share"] == pytest.approx(((probability >= 0.5) == y).mean(), abs=0.026)
    assert "leave them out" in site_fault(site, features=["b", "a"], outcome="ill")


def site_fault(site: Inference, **parameters: Any) -> str:
    (site.output / "metrics.json").unlink(missing_ok=True)
    return site.fault(**parameters)


def test_public_onnx_model_predicts_the_species_of_iris(site: Inference, tmp_path: Path) -> None:
    public = site.tool.folder / "test/example_input/predict/input/model" / IRIS
    iris = load_iris()
    columns = [
        {"name": "sepal_length", "type": "number", "unit": "cm"},
        {"name": "sepal_width", "type": "number", "unit": "cm"},
        {"name": "species", "type": "category", "values": list(map(str, iris.target_names))},
    ]
    rows = [[*row[:2], iris.target_names[kind]] for row, kind in zip(iris.data.tolist(), iris.target, strict=True)]
    write_dataset(site.datasets, columns, rows)
    site.give(public.read_bytes(), IRIS)
    asked = {"features": ["sepal_length", "sepal_width"], "outcome": "species", "positive": "virginica"}
    told = site.told(**asked, output_column=2, threshold=0.1)
    code = (
        "import json,sys,numpy as np,onnxruntime as o; s=o.InferenceSession(sys.argv[1]); x=np.array(json.loads("
        "sys.stdin.read()),np.float32); print(json.dumps([p[2] for i in range(0,150,3) for p in s.run(None,"
        "{'float_input':x[i:i+3]})[1]]))"
    )
    command = [*site.tool.python, "-c", code, str(public)]
    ran = subprocess.run(
        command, input=json.dumps(iris.data[:, :2].tolist()), capture_output=True, text=True, check=True
    )
    probability, y = np.array(json.loads(ran.stdout)), iris.target == 2
    assert told["discrimination"][0]["auc"] == pytest.approx(roc_auc_score(y, probability), abs=0.026)
    assert share(told, "sensitivity")["share"] == pytest.approx((probability >= 0.1)[y].mean(), abs=0.11)
    assert against(site.tool, told, tmp_path / "sealed") == {}


PATCHES = """
import json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import network, numpy as np
from patches.images import read_site
arrays = [np.load(sys.argv[2])[name] for name in network.NAMES]
site = read_site(Path(sys.argv[3]), int(sys.argv[4]), 2, 1)
found = [[network.scores(arrays, part.images)[:, 1] - network.scores(arrays, part.images)[:, 0], part.labels]
         for part in (site.train, site.test)]
print(json.dumps([np.concatenate([each[n] for each in found]).tolist() for n in (0, 1)]))
"""


def test_network_of_flower_image_predicts_on_the_patches_that_it_was_trained_on(
    site: Inference, data: Path, tmp_path: Path
) -> None:
    training = site.tool.folder.parent / "flower_image"
    trained = training / "test/example_output/server/model.npz"
    site.give(trained.read_bytes(), "model.npz")
    site.datasets = data / "UB" / "synthetic-lesions"
    told = site.told(kind="lesions", size=8)
    command = [*site.tool.python, "-c", PATCHES, training / "source", trained, site.datasets, "8"]
    ran = subprocess.run([*map(str, command)], env=site.tool.variables(), capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    scores, labels = (np.array(each) for each in json.loads(ran.stdout))
    (found,) = told["discrimination_in_pairs"]
    assert found["persons"] == labels.sum() <= PERSONS["UB"]
    assert found["auc"] == pytest.approx(roc_auc_score(labels, scores), abs=0.051)
    specificity = share(told, "specificity")
    expected = (scores < 0)[labels == 0].mean() if "share" in specificity else 1
    assert specificity.get("share", 1) == pytest.approx(expected, abs=0.26)
    assert against(site.tool, told, tmp_path / "sealed") == {}


def test_without_a_truth_it_says_of_how_many_it_is_positive(site: Inference, tmp_path: Path) -> None:
    x, probability, y = made_rows(100)
    write_rows(site.datasets, x, y)
    site.give(logistic(WEIGHTS, BIAS))
    told = site.told(features=["a", "b"])
    (found,) = told["shares"]
    assert (found["what"], found["share"]) == (
        "predicted positive",
        pytest.approx((probability >= 0.5).mean(), abs=0.051),
    )
    assert against(site.tool, told, tmp_path / "sealed") == {}


def test_shares_of_few_are_told_as_classes(site: Inference, tmp_path: Path) -> None:
    """A good model: nobody is told how many of the few it gets wrong, nor can it be told from the others."""
    x = np.array([[n / 10, 0.0] for n in range(-40, 41) if n])
    y = x[:, 0] > 0
    y[[0, 1, 78]] = ~y[[0, 1, 78]]
    write_rows(site.datasets, x, y)
    site.give(logistic((8.0, 0.0), 0.0))
    told = site.told(**ASKED)
    assert told["shares"] == [
        {"what": "sensitivity", "extent": "most"},
        {"what": "specificity", "extent": "most"},
        {"what": "accuracy", "extent": "most"},
    ]
    assert "refuse" not in against(site.tool, told, tmp_path / "sealed").values()


def test_site_of_few_persons_says_nothing(site: Inference) -> None:
    x, _, y = made_rows(9)
    write_rows(site.datasets, x, y)
    site.give(logistic(WEIGHTS, BIAS))
    assert "fewer than 10 persons" in site.fault(**ASKED)


def test_outcome_of_few_persons_is_not_spoken_of(site: Inference) -> None:
    x, _, y = made_rows(60)
    y[:] = False
    y[:4] = True
    write_rows(site.datasets, x, y)
    site.give(logistic(WEIGHTS, BIAS))
    assert "one of the two outcomes" in site.fault(**ASKED)


def packed(**arrays: Any) -> bytes:
    content = io.BytesIO()
    np.savez(content, **arrays)
    return content.getvalue()


def bomb() -> bytes:
    """An npz that unpacks to a gigabyte of zeros."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("coef.npy", "w") as entry:
        for _ in range(1 << 10):
            entry.write(bytes(1 << 20))
    return content.getvalue()


HARM: dict[str, tuple[Callable[[], bytes], str]] = {
    "another file": (lambda: b"", "sha256"),
    "no model": (lambda: b"\x00" * 1000, "no ONNX model"),
    "cut": (lambda: logistic(WEIGHTS, BIAS)[:-40], "no ONNX model"),
    "values from a file beside": (
        lambda: model([node("MatMul", ["x", "w"], "y")], [tensor_elsewhere("w", [2, 1], "secret.bin")], 2),
        "no ONNX model",
    ),
    "values from anywhere": (
        lambda: model([node("MatMul", ["x", "w"], "y")], [tensor_elsewhere("w", [2, 1], "/etc/hostname")], 2),
        "no ONNX model",
    ),
    "an operator of its own": (lambda: model([node("Evil", ["x"], "y", "evil.org")], [], 2), "no ONNX model"),
    "not a number": (
        lambda: model([node("Sqrt", ["x"], "y")], [], 2, outputs=2),
        "not finite",
    ),
    "no probability": (lambda: model([node("Exp", ["x"], "y")], [], 2, outputs=2), "no probability"),
    "another number of columns": (lambda: logistic((1.0, 2.0, 3.0), 0.0), "does not run on these inputs"),
    "one row for all": (
        lambda: model([node("MatMul", ["v", "x"], "y")], [tensor("v", [1, 60], [0.001] * 60)], 2, outputs=2),
        "one row to a record",
    ),
    "pickled": (lambda: packed(coef=np.array([{}], dtype=object)), "npz of numbers alone"),
    "a bomb": (bomb, "no arrays of a training"),
    "arrays that do not fit": (
        lambda: packed(features=["a", "b"], coef=[1.0], intercept=[0.0], mean=[0.0], scale=[1.0]),
        "not as many as its features",
    ),
}


@pytest.mark.parametrize("harm", HARM)
def test_model_that_means_harm_ends_with_its_reason(site: Inference, harm: str) -> None:
    x, _, y = made_rows(60)
    write_rows(site.datasets, x, y)
    make, expected = HARM[harm]
    site.give(make())
    (site.root / "secret.bin").write_bytes(np.ones(2, np.float32).tobytes())
    asked = {"sha256": "0" * 64} if harm == "another file" else {}
    assert expected in site.fault(**ASKED, **asked)


def example(tool: ToolProgram) -> dict[str, Any]:
    return dict(json.loads((tool.folder / "test/example_output/predict/metrics.json").read_text()))


@pytest.mark.parametrize(
    "edit",
    [
        lambda a: a.update(predictions=[0.1, 0.9]),
        lambda a: a["shares"][0].update(share=[0.1, 0.9]),
        lambda a: a["shares"][0].update(extent="some", persons=50, share=0.98),
        lambda a: a["discrimination"][0].update(positives=2),
        lambda a: a["discrimination"][0].update(auc="Maria Ortiz"),
        lambda a: a["calibration"].append({"first": 1, "last": 1, "persons": 1, "share": 0.913}),
        lambda a: a.update(kind="SYNTHETIC-0001"),
    ],
)
def test_what_a_hostile_variant_writes_in_the_place_of_measures_is_refused(
    inference: ToolProgram, tmp_path: Path, edit: Callable[[dict[str, Any]], Any]
) -> None:
    told = example(inference)
    assert against(inference, told, tmp_path / "sealed") == {}
    edit(told)
    assert "refuse" in against(inference, told, tmp_path / "sealed").values()


def test_site_with_a_higher_floor_refuses_the_tools_smaller_cells(inference: ToolProgram, tmp_path: Path) -> None:
    assert "refuse" in against(inference, example(inference), tmp_path / "sealed", floor=60).values()


def test_example_is_what_the_tool_gives(inference: ToolProgram, tmp_path: Path) -> None:
    given = inference.folder / "test/example_input/predict"
    ended = inference.run(
        "predict", "--model", given / "input/model", "--datasets", given / "input/data", "--host", "UB",
        "--parameters", given / "parameters.json", "--output", tmp_path,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert_same_json(tmp_path, inference.folder / "test/example_output/predict")

"""``nvflare-image``: the demonstrator's network by NVFLARE over DICOM, and what a site does not let in."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.support.rounds_runs import RoundsRun
from tests.support.tool_programs import ToolProgram

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
"""The environment of the tool is built from its lock file once, which can take minutes."""

REFUSED = """
import json, os, sys
from pathlib import Path
folder, images = Path(sys.argv[1]), sys.argv[2]
request = {"size": 8, "rounds": 1}
files = {name: str(folder / name) for name in ("alive", "refused", "finished")}
(folder / "settings.json").write_text(json.dumps({"request": request, "datasets": images, **files}))
os.environ["NVFLARE_IMAGE_SETTINGS"] = str(folder / "settings.json")
import network
import numpy as np
from flare_parts import job
from flare_parts.site import SitePart
from nvflare.apis.event_type import EventType
from nvflare.apis.fl_context import FLContext
from nvflare.app_common.abstract.fl_model import FLModel, ParamsType
from nvflare.app_common.utils.fl_model_utils import FLModelUtils

def refused():
    path = folder / "refused"
    text = path.read_text() if path.exists() else ""
    path.unlink(missing_ok=True)
    return text

def asked(*tasks):
    part = SitePart()
    part.handle_event(EventType.START_RUN, FLContext())
    for task, params in tasks:
        shareable = FLModelUtils.to_shareable(FLModel(params_type=ParamsType.FULL, params=params))
        reply = part.execute(task, shareable, FLContext(), None)
    return reply.get_return_code(), refused()

model = dict(zip(network.NAMES, network.start(8, 1)))
def changed(name, value):
    return {**model, name: value}
found = {
    "agreed": asked((job.TRAIN, model), (job.VALIDATE, model)),
    "training": asked((job.TRAIN, model), (job.TRAIN, model)),
    "measures": asked((job.VALIDATE, model), (job.VALIDATE, model)),
    "task": asked(("get_weights", model)),
    "rows": asked((job.TRAIN, changed("conv1.bias", np.zeros((60, 12), np.float32)))),
    "more": asked((job.TRAIN, {**model, "patches": np.zeros(3, np.float32)})),
    "nan": asked((job.TRAIN, changed("conv1.bias", np.full(12, np.nan, np.float32)))),
    "objects": asked((job.TRAIN, changed("conv1.bias", np.zeros(12, np.float64)))),
}
def deployed(name, change=lambda app: None):
    job.write_job(folder / name, 1)
    change(folder / name / "app")
    return job.SameJob().validate(str(folder / name / "app"))[0], refused()
def rewritten(path, **more):
    path.write_text(json.dumps({**json.loads(path.read_text()), **more}))
def with_code(app):
    (app / "custom").mkdir()
    (app / "custom" / "code.py").write_text("import os")
client = "config/config_fed_client.json"
executor = [{"tasks": ["train"], "executor": {"path": "subprocess.Popen", "args": {"args": ["id"]}}}]
found |= {
    "same job": deployed("same"),
    "code": deployed("code", with_code),
    "class": deployed("class", lambda app: rewritten(app / client, executors=executor)),
    "component": deployed("part", lambda app: rewritten(app / client, components=[{"id": "a", "path": "os.system"}])),
    "no job": deployed("none", lambda app: (app / client).write_text("{")),
}
print(json.dumps(found))
"""


@pytest.fixture
def run(nvflare_image: ToolProgram, tmp_path: Path) -> Iterator[RoundsRun]:
    """The example's images at two hosts."""
    images = nvflare_image.folder / "test/example_input/client/input/images"
    made = RoundsRun(nvflare_image, dict.fromkeys(("UB", "BSC"), images), tmp_path / "run")
    yield made
    made.close()


def _python(tool: ToolProgram, code: str, *arguments: Any) -> Any:
    ended = subprocess.run(
        [*tool.python, "-c", code, *map(str, arguments)],
        env={**tool.variables(), "PYTHONPATH": str(tool.folder / "source")},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout.splitlines()[-1])


def test_the_example_gives_the_example_output_which_is_flower_images_training(run: RoundsRun) -> None:
    """Two hosts with the same images learn what one does: the numbers are those of flower-image's example."""
    folder = run.tool.folder / "test"
    found = run.run(**json.loads((folder / "example_input/server/parameters.json").read_text()))
    assert found["platform_status"] == "FINISHED:COMPLETED"
    expected = json.loads((folder / "example_output/server/result.json").read_text())
    assert found.keys() == expected.keys()
    flower = json.loads((folder.parents[1] / "flower_image/test/example_output/server/result.json").read_text())
    losses = [entry["loss"] for entry in flower["rounds"][:2]]
    assert [entry["loss"] for entry in expected["rounds"]] == pytest.approx(losses, rel=1e-3)
    assert [entry["loss"] for entry in found["rounds"]] == pytest.approx(losses, rel=0.05)
    assert [[site["host"] for site in one["sites"]] for one in found["rounds"]] == [["BSC", "UB"]] * 2
    told = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    assert [(line["round"], line["accuracy"]) for line in told] == [
        (one["round"], one["accuracy"]) for one in found["rounds"]
    ]
    model = np.load(run.output / "model.npz", allow_pickle=False)
    assert all(model[name].dtype == np.float32 for name in model.files)


def test_a_site_refuses_what_was_not_agreed(nvflare_image: ToolProgram, tmp_path: Path) -> None:
    images = nvflare_image.folder / "test/example_input/client/input/images"
    found = _python(nvflare_image, REFUSED, tmp_path, images)
    assert found.pop("agreed") == ["OK", ""]
    assert found.pop("same job") == ["", ""]
    parts = {
        "training": "more than the 1 tasks train", "measures": "more than the 1 tasks validate",
        "task": "a task that this tool does not have", "rows": "a model of another shape",
        "more": "a model of another shape", "nan": "a model of another shape", "objects": "a model of another shape",
    }  # fmt: skip
    for name, message in parts.items():
        code, refused = found.pop(name)
        assert code == "EXECUTION_EXCEPTION", name
        assert message in refused, name
    assert {refused for _, refused in found.values()} == {"the server sends another job than this tool's"}
    assert all(answer for answer, _ in found.values())


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"size": 17}, "size: must be even"),
        ({"min_persons": 40}, "fewer than 40 persons (min_persons) have a lesion"),
        ({"updates": 3}, "unknown updates"),
    ],
)
def test_parameters_that_cannot_be_met_are_refused(run: RoundsRun, parameters: dict[str, Any], message: str) -> None:
    run.ask(**parameters)
    run.join("UB")
    code, errors = run.ended("UB")
    assert code == 2
    assert message in errors
    assert "Traceback" not in errors

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

from flare_parts.averaging import Averaging
from patches.faults import Broken
from request import Request
server = Averaging()
server._rows, server._request = {"UB": {}, "BSC": {}}, Request(size=8, rounds=2)
server.send_model_and_wait = lambda **_: [FLModel(params=model, meta={"client_name": "BSC"})]
try:
    server._ask(job.TRAIN, 2, list(model.values()))
except Broken as fault:
    found["lost"] = str(fault)
print(json.dumps(found))
"""


LYING = """
import io, json, os, runpy, sys, zipfile
from contextlib import contextmanager
from pathlib import Path
folder = Path(sys.argv[1])
(folder / "settings.json").write_text(json.dumps({"refused": str(folder / "refused")}))
os.environ["NVFLARE_IMAGE_SETTINGS"] = str(folder / "settings.json")
sys.path.insert(0, str(Path(sys.argv[2]) / "source"))
import worker
from nvflare.app_common.resource_managers.gpu_resource_manager import GPUResourceManager
from nvflare.apis.fl_context import FLContext
from nvflare.fuel.f3.cellnet.cell import Cell
from nvflare.fuel.f3.cellnet.defs import MessageHeaderKey as Header
from nvflare.fuel.f3.cellnet.net_agent import NetAgent
from nvflare.fuel.f3.cellnet.utils import encode_payload, new_cell_message
from nvflare.fuel.sec.audit import AuditService
from nvflare.private.admin_defs import Message
from nvflare.private.fed.app.client import client_train
from nvflare.private.fed.client.client_engine_internal_spec import ClientEngineInternalSpec
from nvflare.private.fed.client.client_req_processors import ClientRequestProcessors

class Engine:
    deployed, started = {}, []
    @contextmanager
    def new_context(self):
        yield FLContext()
    def get_client_name(self):
        return "UB"
    def deploy_app(self, app_data, **more):
        self.deployed = {"data": app_data, **more}
    def start_app(self, job_id, **more):
        self.started.append(job_id)
        return "started"
    def get_component(self, name):
        resources = GPUResourceManager(0, 0)
        resources.allocate_resources = lambda **_: {}
        return resources

def asked(cell, channel, topic, body="", **headers):
    payload = Message(topic, body)
    for name, value in headers.items():
        payload.set_header(name, value)
    message = new_cell_message({Header.CHANNEL: channel, Header.TOPIC: topic}, payload)
    encode_payload(message)
    reply = cell.core_cell._process_request("server", message)
    path = folder / "refused"
    refused = path.read_text() if path.exists() else ""
    path.unlink(missing_ok=True)
    return str(getattr(reply.payload, "body", "")), refused

def main(args):
    engine = type("EngineOfTest", (Engine, ClientEngineInternalSpec), {})
    engine.__abstractmethods__ = frozenset()
    engine = engine()
    cell = Cell(fqcn="UB", root_url="tcp://127.0.0.1:9", secure=False, credentials={}, create_internal_listener=False)
    NetAgent(cell)
    cell.register_request_cb(channel="aux_communication", topic="*", cb=lambda request: 1 / 0)
    AuditService.initialize(str(folder / "audit.log"))
    client = type("Client", (), {"cell": cell, "set_client_engine": lambda *_: None})()
    engine.set_agent = engine.fire_event = lambda *_: None
    client_train.create_admin_agent(ClientRequestProcessors.request_processors, client, engine)
    here, other = "11111111-2222-3333-4444-555555555555", "11111111-2222-3333-4444-555555555556"
    meta = {"job_id": here, "custom_props": {"a": 1}}
    commands = {one: asked(cell, "admin", *one.split("|")) for one in json.loads(sys.stdin.read())}
    told = {
        "commands": commands,
        "deploy": asked(cell, "admin", "train.deploy", b"no archive", job_id=here, app_name="x", job_meta=meta),
        "elsewhere": asked(cell, "admin", "train.deploy", b"", job_id="x -s secret", app_name="x", job_meta=meta),
        "start": asked(cell, "admin", "train.start_job", {}, job_id=here, job_meta=meta),
        "again": asked(cell, "admin", "train.start_job", {}, job_id=other, job_meta=meta),
        "events": asked(cell, "aux_communication", "fed.event"),
        "network": asked(cell, "_net_manager", "peers"),
    }
    data = engine.deployed.get("data")
    packed = zipfile.ZipFile(io.BytesIO(data)).namelist() if data else []
    told |= {"meta": engine.deployed.get("job_meta"), "packed": packed, "started": engine.started}
    sys.stdout.write(json.dumps(told) + chr(10))
    sys.stdout.flush()
    os._exit(0)

client_train.main = main
sys.argv[1:] = ["-m", str(folder), "-s", "fed_client.json"]
os.chdir(folder)
runpy.run_module(worker.CLIENT, run_name="__main__")
"""
CANCELLED = """
import json, sys, time
from pathlib import Path
from programs import last_lines, running
folder = Path(sys.argv[1])
with running("code", folder, "", folder / "settings.json", {}) as process:
    (folder / "program.txt").write_bytes(b"y" * 9000 + b"\\n" + b"x" * 999 + b"\\n" + b"\\x1b[31m\\xff" + b"\\n")
    print(json.dumps([last_lines(folder, 2), process.pid]), flush=True)
    time.sleep(300)
"""


@pytest.fixture
def run(nvflare_image: ToolProgram, tmp_path: Path) -> Iterator[RoundsRun]:
    """The example's images at three hosts."""
    images = nvflare_image.folder / "test/example_input/client/input/images"
    made = RoundsRun(nvflare_image, dict.fromkeys(("UB", "BSC", "FORTH"), images), tmp_path / "run")
    yield made
    made.close()


def _python(tool: ToolProgram, code: str, *arguments: Any, given: str = "") -> Any:
    ended = subprocess.run(
        [*tool.python, "-c", code, *map(str, arguments)],
        input=given,
        env={**tool.variables(), "PYTHONPATH": str(tool.folder / "source")},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout.splitlines()[-1])


def test_the_example_gives_the_example_output_which_is_flower_images_training(run: RoundsRun) -> None:
    """Three hosts with the same images learn what one does: the numbers are those of flower-image's example."""
    folder = run.tool.folder / "test"
    found = run.run(**json.loads((folder / "example_input/server/parameters.json").read_text()))
    assert found["platform_status"] == "FINISHED:COMPLETED"
    expected = json.loads((folder / "example_output/server/result.json").read_text())
    assert found.keys() == expected.keys()
    flower = json.loads((folder.parents[1] / "flower_image/test/example_output/server/result.json").read_text())
    losses = [entry["loss"] for entry in flower["rounds"][:2]]
    assert [entry["loss"] for entry in expected["rounds"]] == pytest.approx(losses, rel=1e-3)
    assert [entry["loss"] for entry in found["rounds"]] == pytest.approx(losses, rel=0.05)
    assert [[site["host"] for site in one["sites"]] for one in found["rounds"]] == [["BSC", "FORTH", "UB"]] * 2
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
    assert found.pop("lost") == "round 2: no good reply from UB to train; see the client's log there"
    parts = {
        "training": "more than the 1 tasks train", "measures": "more than the 1 tasks validate",
        "task": "a task that this tool does not have", "rows": "a model of another shape",
        "more": "a model of another shape", "nan": "a model of another shape", "objects": "a model of another shape",
    }  # fmt: skip
    for name, message in parts.items():
        code, refused = found.pop(name)
        assert code == "EXECUTION_EXCEPTION", name
        assert message in refused, name
    assert not found


def test_a_lying_server_gets_nothing_but_the_tools_own_job_once(nvflare_image: ToolProgram, tmp_path: Path) -> None:
    """The handlers of NVFLARE's client as this tool starts it; no request says that it needs a right."""
    secret = tmp_path / "secret"
    secret.write_text("a person's name")
    commands = [f"sys.shell|cat {secret}", f"sys.shell|grep . {secret}", "sys.info", "sys.report_env",
                "sys.configure_site_log|DEBUG", "train.configure_job_log|DEBUG", "train.delete_run", "train.restart",
                "info.show_errors"]  # fmt: skip
    found = _python(nvflare_image, LYING, tmp_path, nvflare_image.folder, given=json.dumps(commands))
    asked = "the server asks for what this tool does not do: "
    for command in commands:
        answer = ["this site runs the job of its own tool alone", asked + command.partition("|")[0]]
        assert found["commands"][command] == answer, command
    assert found["deploy"] == ["deployed app to UB", ""], "what came was no archive: it was not opened"
    assert (found["meta"].keys(), found["packed"]) == (
        {"job_id", "name", "resource_spec", "job_clients"},
        ["config/config_fed_client.json", "config/config_fed_server.json"],
    )
    assert found["elsewhere"][1] == asked + "train.deploy of a job without an id"
    assert (found["start"], found["started"]) == (["started", ""], ["11111111-2222-3333-4444-555555555555"])
    assert found["again"][1] == asked + "a second job"
    assert found["events"][1] == asked + "aux_communication fed.event"
    assert found["network"][1] == asked + "_net_manager peers"


def test_what_nvflare_says_is_cut_and_it_ends_with_a_cancelled_task(nvflare_image: ToolProgram, tmp_path: Path) -> None:
    variables = {**nvflare_image.variables(), "PYTHONPATH": str(nvflare_image.folder / "source")}
    task = subprocess.Popen(
        [*nvflare_image.python, "-c", CANCELLED, tmp_path],
        env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert task.stdout is not None
    lines, child = json.loads(task.stdout.readline())
    assert lines == ["x" * 200, "?[31m?"]
    task.terminate()
    assert task.wait(60) == 143
    assert not Path(f"/proc/{child}").exists()


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

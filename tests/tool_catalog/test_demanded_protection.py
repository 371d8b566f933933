"""A site's demands of the trainings with Flower: what it takes, what it refuses, and what of it a client holds to."""

from __future__ import annotations

import json
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from tests.site.policy.test_policy_file import order, policy
from tests.support.tool_programs import ToolProgram

from fedproc.catalog.folder import load_tool
from fedproc.common.errors import RefusedError
from fedproc.contract.tool.tool import Tool
from fedproc.site.policy.demands import check_parameters, check_privacy
from fedproc.site.policy.examples import examples_of

pytestmark = pytest.mark.slow

CATALOGUE = Path(__file__).parents[2] / "tool_catalog"
TOOLS = ("flower_logistic", "flower_clinical", "flower_image")
PRIVATE = {"epsilon": 2.0, "delta": 1e-5}


@cache
def _tool(name: str) -> Tool:
    return load_tool(CATALOGUE / name).tool


def _privacy_refusal(name: str, parameters: dict[str, Any]) -> str | None:
    (rule,) = policy(differential_privacy=PRIVATE).tools
    tool, asked = _tool(name), order(parameters=parameters)
    try:
        check_privacy(tool.task("client"), asked, tool, secure_sums=False, most=rule.differential_privacy)
    except RefusedError as error:
        return error.message
    return None


@pytest.mark.parametrize("name", TOOLS)
@pytest.mark.parametrize(
    "given", [{}, {"epsilon": 2.1, "delta": 1e-5}, {"epsilon": 2.0}, {"epsilon": 2, "delta": 1e-4}]
)
def test_demand_of_differential_privacy_refuses_less(name: str, given: dict[str, Any]) -> None:
    text = (
        "this site demands differential privacy of this tool: ask for epsilon of at most 2 and delta of at most 1e-05"
    )
    assert _privacy_refusal(name, given) == text
    assert _privacy_refusal(name, PRIVATE) is None


@pytest.mark.parametrize("name", TOOLS)
def test_demand_of_secure_aggregation_refuses_a_plain_training(name: str) -> None:
    demanded = {"secure_aggregation": (True,)}
    check_parameters(name, demanded, order(parameters={"secure_aggregation": True}))
    for given in ({}, {"secure_aggregation": False}, {"secure_aggregation": 1}):
        with pytest.raises(RefusedError, match="only secure_aggregation=true"):
            check_parameters(name, demanded, order(parameters=given))
    assert _tool(name).parameters["properties"]["secure_aggregation"]["type"] == "boolean"


@pytest.mark.parametrize("name", TOOLS)
def test_result_that_says_what_was_spent_passes_the_rules_of_a_host(name: str, tmp_path: Path) -> None:
    shutil.copytree(CATALOGUE / name / "test", tmp_path / "test")
    asked = tmp_path / "test/example_input/server/parameters.json"
    asked.write_text(json.dumps({**json.loads(asked.read_text()), **PRIVATE, "clip": 1.0}))
    written = tmp_path / "test/example_output/server/result.json"
    result = json.loads(written.read_text())
    persons = result["rounds"][0]["train_rows"]
    schema = _tool(name).task("server").outputs[0].content.json_schema["properties"]["model"]["properties"]["privacy"]  # type: ignore[union-attr, index]
    known = {key: schema["properties"][key]["const"] for key in ("protects", "accountant")}
    spent = {**PRIVATE, "clip": 1.0, "steps": 30, "noise_multiplier": 12.25, "train_rows": persons, **known}
    result["model"] |= {"train_rows": persons, "privacy": spent}
    written.write_text(json.dumps(result))
    (found,) = (e for e in examples_of(_tool(name), tmp_path) if (e.task, e.output.name) == ("server", "result"))
    assert {each.rule.id for each in found.findings or ()} == {"policy.release"}


PLAIN = """
import json, sys
from argparse import Namespace
from pathlib import Path
import numpy as np
import main
from averaging import client
from averaging.faults import Fault

def asked(address, site):
    model = [np.ones(shape) for shape in site._learner.shapes]
    for ask in (lambda: site.fit(model, {"round": 1}), lambda: site.evaluate(model, {"round": 1}),
                lambda: site.fit(model, {"pass": "training", "node": 1, "record": b"plain"})):
        try:
            print(json.dumps(["told", str(ask())]))
        except Fault as fault:
            print(json.dumps([type(fault).__name__, str(fault)]))
client.run = asked
main._client(Namespace(server="", host="UB", datasets=Path(sys.argv[1]), parameters=Path(sys.argv[2])))
"""
BOUNDS = {
    "flower_logistic": {"bounds": {"size": [5, 30], "texture": [5, 45], "symmetry": [0, 1]}},
    "flower_clinical": {"bounds": {"time": [0, 2000], "age": [18, 100]}},
    "flower_image": {},
}


@pytest.mark.parametrize("name", TOOLS)
def test_client_that_was_asked_to_mask_tells_no_server_a_plain_contribution(
    request: pytest.FixtureRequest, name: str, tmp_path: Path
) -> None:
    tool: ToolProgram = request.getfixturevalue("flower" if name == "flower_logistic" else name)
    example = tool.folder / "test/example_input/client"
    (datasets,) = (example / "input").iterdir()
    parameters = tmp_path / "parameters.json"
    given = json.loads((example / "parameters.json").read_text()) | BOUNDS[name] | {"secure_aggregation": True}
    parameters.write_text(json.dumps(given))
    ended = subprocess.run(
        [*tool.python, "-c", PLAIN, datasets, parameters],
        env={**tool.variables(), "PYTHONPATH": str(tool.folder / "source")},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    found = [json.loads(line) for line in ended.stdout.splitlines() if line.startswith("[")]
    assert [kind for kind, _ in found] == ["Broken"] * 3
    assert "a contribution that is not masked: nothing is told" in found[0][1]
    assert "measures that are not masked: nothing is told" in found[1][1]
    assert "does not keep to the secure aggregation" in found[2][1]

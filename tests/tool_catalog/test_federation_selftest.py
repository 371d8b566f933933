"""``federation-selftest``: a training that succeeds, and each way in which a host can be made to end it."""

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

HOSTS = ("UB", "BSC")


class Selftest(RoundsRun):
    """It has no datasets."""

    def join(self, host: str, looking: object = None) -> None:
        self.clients[host] = self.tool.start(
            *("client", "--host", host, "--server", f"localhost:{self.port}", "--parameters", self.parameters)
        )


@pytest.fixture
def run(selftest: ToolProgram, tmp_path: Path) -> Iterator[Selftest]:
    made = Selftest(selftest, dict.fromkeys(HOSTS, tmp_path), tmp_path)
    yield made
    made.close()


def test_without_a_fault_the_point_ends_amid_the_hosts(run: Selftest) -> None:
    result = run.run(rounds=12)
    losses = [entry["loss"] for entry in result["rounds"]]
    assert losses == sorted(losses, reverse=True)
    assert all(entry["replied"] == sorted(HOSTS) for entry in result["rounds"])
    point = np.load(run.output / "model.npz", allow_pickle=False)["point"]
    code = "import numpy; from learner import place; print(*numpy.mean([place(h) for h in ('UB', 'BSC')], axis=0))"
    middle = _python(run.tool, code)
    assert point == pytest.approx(middle, abs=2**-11)


def _python(tool: ToolProgram, code: str) -> list[float]:
    variables = {**tool.variables(), "PYTHONPATH": str(tool.folder / "source")}
    ended = subprocess.run([*tool.python, "-c", code], env=variables, capture_output=True, text=True, check=True)
    return [float(word) for word in ended.stdout.split()]


@pytest.mark.parametrize(
    ("fault", "code", "said"),
    [
        ("exit", 3, "round 2: no good reply from BSC"),
        ("hang", 3, "round 2: no good reply from BSC"),
        ("nonsense", 3, "round 2: no good reply from BSC"),
        ("other_shape", 3, "round 2: no good reply from BSC"),
        ("other_name", 2, "have different features"),
    ],
)
def test_a_fault_ends_the_training_in_its_round_and_names_the_host(
    run: Selftest, fault: str, code: int, said: str
) -> None:
    run.ask(fault=fault, host="BSC", round=2, round_seconds=6)
    run.serve()
    for host in HOSTS:
        run.join(host)
    found, errors = run.ended()
    assert found == code
    assert said in errors
    assert "Traceback" not in errors
    result = json.loads((run.output / "result.json").read_text())
    assert (result["status"], result["model"]) == ("failed", None)
    assert not (run.output / "model.npz").exists()
    if fault == "exit":
        assert run.ended("BSC")[0] == 7


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"fault": "exit"}, "host: a fault needs the host that has it"),
        ({"fault": "exit", "host": "CESGA"}, "CESGA is none of the experiment's hosts, BSC, UB"),
        ({"fault": "burn", "host": "UB"}, "fault: must be one of none, exit"),
        ({"rounds": 0}, "rounds: must be a whole number from 1 to 100"),
    ],
)
def test_parameters_that_cannot_be_met_are_refused(run: Selftest, parameters: dict[str, Any], message: str) -> None:
    run.ask(**parameters)
    hosts = run.parameters.with_name("hosts.json")
    hosts.write_text(json.dumps({"server": ["EUCAIM"], "client": list(HOSTS)}))
    ended = run.tool.run(
        *("server", "--port", "1", "--hosts", hosts, "--parameters", run.parameters),
        *("--output", run.output, "--metrics", run.metrics),
    )
    assert ended.returncode == 2
    assert message in ended.stderr

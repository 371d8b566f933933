"""``host-acceptance``: in a sandbox it finds nothing to object to; outside it does; it ends as it was told."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.tool_programs import ToolProgram

pytestmark = pytest.mark.process

Write = Callable[[str, Any], Path]
JOB = "j-0000000000000000000000000a"
NOBODY = 10001
SANDBOX = (
    *("bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL"),
    *("--uid", str(NOBODY), "--gid", str(NOBODY), "--ro-bind", "/usr", "/usr", "--symlink", "usr/bin", "/bin"),
    *("--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64", "--proc", "/proc"),
    *("--dev", "/dev", "--remount-ro", "/dev", "--tmpfs", "/dev/shm", "--tmpfs", "/tmp"),
)


class Job:
    """The folders of one job, and what it reported."""

    def __init__(self, tool: ToolProgram, root: Path) -> None:
        self.tool, self.work, self.input = tool, root / "work", root / "input"
        (self.work / "output").mkdir(parents=True)
        (self.input / "dataset").mkdir(parents=True)
        self.parameters = root / "parameters.json"

    def arguments(self, inside: dict[str, Path] | None = None) -> list[str]:
        at = inside or {"parameters": self.parameters, "input": self.input, "work": self.work}
        return [
            *("--host", "UB", "--job", JOB, "--parameters", str(at["parameters"]), "--input", str(at["input"])),
            *("--output", str(at["work"] / "output"), "--metrics", str(at["work"] / "metrics.jsonl")),
        ]

    def run(self, parameters: dict[str, Any]) -> subprocess.CompletedProcess[str]:
        self.parameters.write_text(json.dumps(parameters))
        return self.tool.run(*self.arguments(), cwd=self.work)

    def findings(self) -> dict[str, dict[str, Any]]:
        report = json.loads((self.work / "output" / "report.json").read_text())
        return {finding["check"]: finding for finding in report["findings"]}


@pytest.fixture
def job(acceptance: ToolProgram, tmp_path: Path) -> Job:
    return Job(acceptance, tmp_path)


@pytest.fixture
def listener() -> Iterator[str]:
    """A server of the test's own on loopback, as a neighbour's connection would be."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def _in_sandbox(job: Job, parameters: dict[str, Any], *more: str) -> subprocess.CompletedProcess[str]:
    """Run it as the sandbox executor would: another user, namespaces of its own, everything read-only."""
    if shutil.which("bwrap") is None:
        pytest.skip("bubblewrap is not installed")
    job.parameters.write_text(json.dumps(parameters))
    tool = shutil.copytree(job.tool.folder, job.work.parent / "tool")  # another user may not reach the checkout
    inside = {name: Path("/fedproc") / name for name in ("source", "input", "work", "parameters")}
    binds = [
        *("--ro-bind", str(tool), str(inside["source"]), "--ro-bind", str(job.input), str(inside["input"])),
        *("--ro-bind", str(job.parameters), str(inside["parameters"]), "--bind", str(job.work), str(inside["work"])),
    ]
    program = ["/usr/bin/python3", "-S", str(inside["source"] / "source/main.py"), *job.arguments(inside)]
    return subprocess.run(
        [*SANDBOX, *binds, *more, "--remount-ro", "/", "--chdir", str(inside["work"]), *program],
        env={"PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
        **_as_ordinary_user(job),
    )


def _as_ordinary_user(job: Job) -> dict[str, Any]:
    if os.getuid() != 0:
        return {}
    for folder in (job.work, job.work / "output"):
        os.chown(folder, NOBODY, NOBODY)
    for folder in job.work.parents:
        if folder.stat().st_uid == 0 and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o011)
    return {"user": NOBODY, "group": NOBODY, "extra_groups": []}


def test_in_a_sandbox_everything_is_as_expected(job: Job, listener: str) -> None:
    (job.input / "dataset" / "cohort").mkdir()
    (job.input / "dataset" / "cohort" / "cohort.csv").write_text("a\n1\n")
    ended = _in_sandbox(job, {"probe_addresses": [listener, "192.0.2.9:443", "nobody.invalid:80"]})
    assert ended.returncode == 0, ended.stderr
    assert [finding for finding in job.findings().values() if not finding["ok"]] == []
    assert "0 not as expected" in ended.stdout
    assert job.findings()["dataset cohort"]["found"] == "1 files, 0 others, 4 bytes, 0 writable"
    assert job.findings()[f"probe {listener}"]["found"] == "ECONNREFUSED"


@pytest.mark.parametrize(
    ("hole", "check"),
    [
        (["--share-net"], "interfaces"),
        (["--bind", "ROOT/other", "/other"], "writable_folders"),
        (["--dir", "/jobs/j-0000000000000000000000000b"], "other_jobs"),
        (["--ro-bind", "ROOT/other/file", "/etc/shadow"], "host_files"),
        (["--bind", "ROOT/other/socket", "/run/engine.sock"], "unix_sockets"),
        (["--setenv", "UPLOAD_TOKEN", "x"], "secrets_in_environments"),
        (["--bind", "ROOT/other", "/fedproc/input/dataset/open"], "dataset open"),
        (["--dev-bind", "ROOT/other", "/dev", "--dev-bind", "/dev/null", "/dev/file"], "devices"),
    ],
)
def test_a_hole_in_the_sandbox_is_found(job: Job, tmp_path: Path, hole: list[str], check: str) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "file").write_text("x")
    (job.input / "dataset" / "open").mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(other / "socket"))
        for path in (other, *other.iterdir()):
            path.chmod(0o777)
        ended = _in_sandbox(job, {}, *(part.replace("ROOT", str(tmp_path)) for part in hole))
    assert ended.returncode == 0, ended.stderr
    assert not job.findings()[check]["ok"]
    assert f"NOT OK {check}" in ended.stdout


def test_on_the_bare_machine_a_neighbour_is_reached(job: Job, listener: str) -> None:
    ended = job.run({"probe_addresses": [listener]})
    assert ended.returncode == 0, ended.stderr
    findings = job.findings()
    assert findings[f"probe {listener}"] == {
        "check": f"probe {listener}",
        "expected": "not reached",
        "found": "connected",
        "ok": False,
    }
    found = findings["loopback_ports"]["found"]
    assert listener.rpartition(":")[2] in found or found.endswith((" more", "...")), "its first twenty are named"
    assert not findings["no_new_privileges"]["ok"]


def test_names_of_the_environment_are_told_but_no_value(acceptance: ToolProgram, tmp_path: Path) -> None:
    secret = "hunter2-value"
    told = ToolProgram(acceptance.folder, acceptance.python, {"BROKER_PASSWORD": secret})
    job = Job(told, tmp_path)
    ended = job.run({})
    report = (job.work / "output" / "report.json").read_text()
    assert "BROKER_PASSWORD" in report
    assert secret not in report + ended.stdout + ended.stderr


def test_it_works_as_long_and_ends_as_it_was_told(job: Job) -> None:
    ended = job.run({"seconds": 1.5, "exit_code": 7})
    assert ended.returncode == 7
    progress = [json.loads(line) for line in (job.work / "metrics.jsonl").read_text().splitlines()]
    assert [entry["round"] for entry in progress] == [1, 2]
    assert 1.5 <= progress[-1]["seconds"] < 10


def test_a_signal_ends_its_work_at_once_and_the_report_is_there(job: Job) -> None:
    job.parameters.write_text(json.dumps({"seconds": 600}))
    process = subprocess.Popen(
        job.tool.command(*job.arguments()), cwd=job.work, env=job.tool.variables(), stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    with process:
        for line in process.stdout:
            if "things looked at" in line:
                process.send_signal(signal.SIGTERM)
        assert process.wait(60) == -signal.SIGTERM
    assert job.findings()


def test_the_example_output_has_what_a_report_has(job: Job) -> None:
    example = job.tool.folder / "test"
    shutil.copytree(example / "example_input/look/input/dataset/example", job.input / "dataset" / "example")
    parameters = json.loads((example / "example_input/look/parameters.json").read_text())
    assert job.run(parameters).returncode == 0
    expected = json.loads((example / "example_output/look/report.json").read_text())
    assert expected["status"] == "ok"
    assert set(job.findings()) == {finding["check"] for finding in expected["findings"]}


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"seconds": -1}, "seconds: must be a number from 0 to 3600"),
        ({"seconds": "1"}, "seconds: must be a number"),
        ({"exit_code": 256}, "exit_code: must be a whole number from 0 to 255"),
        ({"exit_code": True}, "exit_code: must be a whole number"),
        ({"probe_addresses": ["nowhere"]}, "each must be a text host:port"),
        ({"probe_addresses": ["x:70000"]}, "each must be a text host:port"),
        ({"probe_addresses": "127.0.0.1:80"}, "must be a list"),
        ({"wait": 3}, "known are exit_code, fail_on_findings, probe_addresses, seconds"),
    ],
)
def test_parameters_that_cannot_be_met_are_refused(job: Job, parameters: dict[str, Any], message: str) -> None:
    ended = job.run(parameters)
    assert ended.returncode == 2
    assert message in ended.stderr
    assert not (job.work / "output" / "report.json").exists()


def test_an_output_that_cannot_be_written_is_said(job: Job) -> None:
    shutil.rmtree(job.work / "output")
    ended = job.run({})
    assert ended.returncode == 1
    assert "No such file or directory" in ended.stderr

"""The command line as a researcher uses it, mistakes included: what it prints and how it exits."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import zipfile

import pytest
from tests.support.running import ROOT

from fedproc.demo.federation import read_env
from fedproc.demo.polling import wait_until

pytestmark = pytest.mark.needs_federation


@pytest.fixture
def environment(running, tmp_path):
    return {**os.environ, **read_env(running.folder), "XDG_CONFIG_HOME": str(tmp_path), "COLUMNS": "1000"}


@pytest.fixture
def fedproc(environment):
    def call(*arguments: str, code: int = 0, given: str = "", **changed: str):
        command = [sys.executable, "-m", "fedproc.cli", *arguments]
        merged = {**environment, **changed}
        done = subprocess.run(
            command, env=merged, input=given, capture_output=True, text=True, timeout=180, check=False
        )
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout if code == 0 else done.stdout + done.stderr

    return call


def _columns(fedproc):
    return json.loads(fedproc("data", "show", "UB:wisconsin", "--json"))["columns"]


def test_what_there_is_for_people_and_for_programs(fedproc):
    assert "Barcelona" in fedproc("hosts")
    assert {host["id"] for host in json.loads(fedproc("hosts", "--json"))} == {"UB", "BSC", "FORTH", "EUCAIM"}
    assert "UB:breast-cohort" in fedproc("data")
    wait_until(lambda: "grade" in fedproc("data", "show", "UB:breast-cohort"), 60, "no columns of UB's cohort", pause=1)
    shown = fedproc("data", "show", "UB:breast-cohort")
    assert re.search(r"grade +category +I, II, III", shown)
    assert re.search(r"tumour_size +integer +mm", shown)
    wait_until(lambda: _columns(fedproc), 60, "no columns of UB's wisconsin", pause=1)
    assert _columns(fedproc)[-1]["name"] == "malignant"
    assert {tool["id"] for tool in json.loads(fedproc("tools", "--json"))} >= {"cohort-statistics", "row-count"}
    assert "rounds" in fedproc("tools", "show", "flower-logistic")
    assert json.loads(fedproc("hosts", "show", "UB", "--json"))["executors"] == ["sandbox"]


def test_the_documented_example_runs(fedproc, tmp_path):
    said = fedproc(
        "run", "row-count", "--data", "UB:breast-cohort", "--data", "BSC:breast-cohort",
        "--data", "FORTH:breast-cohort", "--logs", "--to", str(tmp_path / "results"),
    )  # fmt: skip
    assert "add: 686 rows" in said
    assert json.loads((tmp_path / "results" / "EUCAIM" / "total.json").read_text()) == {"rows": 686}


def test_results_later_and_again(fedproc, tmp_path):
    started = json.loads(fedproc("run", "host-acceptance", "--host", "UB", "--label", "later", "--no-wait", "--json"))
    events = [json.loads(line) for line in fedproc("experiments", "follow", started["id"], "--json").splitlines()]
    assert events[-1]["state"] == "succeeded"
    for _ in range(2):
        fedproc("results", started["id"], "--to", str(tmp_path / "out"))
    assert json.loads((tmp_path / "out" / "UB" / "report.json").read_text())["host"] == "UB"
    (tmp_path / "out" / "UB" / "report.json").write_text("mine")
    assert "there already with other content" in fedproc(
        "results", started["id"], "--to", str(tmp_path / "out"), code=1
    )
    (found,) = json.loads(fedproc("experiments", "list", "--label", "later", "--json"))
    assert found["id"] == started["id"]
    assert "look@UB" in fedproc("experiments", "show", started["id"])
    assert "38 things" in fedproc("experiments", "logs", started["id"])
    assert json.loads(fedproc("experiments", "report", started["id"], "--json"))["jobs"][0]["executor"] == "sandbox"


def test_a_tool_that_exits_3(fedproc):
    said = fedproc("run", "host-acceptance", "--host", "UB", "-p", "exit_code=3", code=3)
    assert "exited with 3, expected 0" in said


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["run", "host-acceptance", "--host", "NOWHERE"], "NOWHERE is not enrolled"),
        (["run", "no-such-tool", "--host", "UB"], "no-such-tool"),
        (["run", "host-acceptance", "--host", "UB", "-p", "seconds=soon"], "parameters.seconds"),
        (
            ["run", "host-acceptance", "--host", "UB", "-p", "second=1"],
            "there is no parameter 'second'; did you mean seconds?",
        ),
        (["run", "host-acceptance", "--host", "UB", "--host-parameter", "seconds=1"], "HOST.NAME=VALUE"),
        (
            ["run", "cohort-statistics", "--data", "UB:nothing", "-p", 'time_grid={"step":1,"end":2}'],
            "UB offers no dataset 'nothing'",
        ),
        (
            ["run", "cohort-statistics", "--data", "not a dataset"],
            "--data 'not a dataset' is no dataset: one is HOST:ID",
        ),
        (["run", "host-acceptance", "--host", "UB", "-p", "seconds"], "NAME=VALUE"),
        (["experiments", "show", "e-01k86kcjqvj6sttai0kuakn05j"], "e-01k86kcjqvj6sttai0kuakn05j"),
        (["run", "letter", "--host", "UB", "--input", "letter=/no/such/file"], "a file that is there"),
        (["catalog", "check", "/nowhere"], "/nowhere"),
        (
            ["run", "cohort-statistics", "--data", "UB:breast-cohort", "-p", "time_grid=true"],
            'must be {"end": a number above 0, "step": a number above 0} or {"points": a list of 1 to 400 entries, '
            "rising, each entry a number above 0}, and is true",
        ),
        (["run", "row-cuont", "--data", "UB:breast-cohort"], "no tool 'row-cuont'; did you mean row-count?"),
        (["run", "row-count", "--data", "UB:breast-chort"], "did you mean breast-cohort?"),
        (["run", "host-acceptance", "--host", "ub"], "--host 'ub' is no host id"),
        (["hosts", "show", "FORHT"], "did you mean FORTH?"),
        (["tools", "show", "cohort_statistics"], "did you mean cohort-statistics?"),
    ],
)
def test_mistakes_are_told_in_one_line_with_what_to_do(fedproc, arguments, told):
    said = fedproc(*arguments, code=1)
    assert told in said
    assert said.startswith("fedproc: ")


def test_signing_in(fedproc, environment, tmp_path):
    url, word = environment["FEDPROC_URL"], environment["FEDPROC_PASSWORD"]
    nobody = {"FEDPROC_USERNAME": "", "FEDPROC_PASSWORD": ""}
    assert "run fedproc login" in fedproc("hosts", code=1, **nobody)
    assert "user name or password is wrong" in fedproc("hosts", code=1, FEDPROC_PASSWORD="wrong")
    assert "signed in" in fedproc("login", "--url", url, "--username", "researcher")
    kept = tmp_path / "fedproc" / "session.json"
    assert kept.stat().st_mode & 0o777 == 0o600
    assert word not in kept.read_text()
    assert "UB" in fedproc("hosts", **nobody)
    assert "signed out" in fedproc("logout")
    assert "run fedproc login" in fedproc("hosts", code=1, **nobody)
    assert "does not answer" in fedproc("hosts", code=1, FEDPROC_URL="http://127.0.0.1:9")


def test_an_interrupted_run_goes_on_and_can_be_cancelled(running, environment):
    # Who was started in the background ignores the signal, and so would its children.
    listening = ["env", "--default-signal=INT"]
    run = [sys.executable, "-m", "fedproc.cli", "run", "host-acceptance", "--host", "UB", "-p", "seconds=60"]
    process = subprocess.Popen(
        [*listening, *run],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    experiment = running.researcher.experiments(limit=1).items
    wait_until(
        lambda: (
            running.researcher.experiments(limit=1).items != experiment
            and running.jobs(running.researcher.experiments(limit=1).items[0])["look@UB"].state == "running"
        ),
        90,
        "it does not run",
    )
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=90)
    assert process.returncode == 130
    started = out.split()[1]
    assert f"fedproc follow {started}" in err
    assert f"fedproc experiments cancel {started}" in err
    assert running.researcher.experiment(started).state == "running"
    running.researcher.cancel(started)
    assert list(running.researcher.events(started))[-1].state == "cancelled"


def test_a_second_interrupt_says_that_the_run_goes_on_and_how_to_return(running, environment):
    """In a terminal: the first one asks whether to cancel, the second one is no answer to that."""
    run = ["run", "host-acceptance", "--host", "UB", "-p", "seconds=60", "--label", "twice"]
    pid, terminal = pty.fork()
    if pid == 0:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a program that is started in the background ignores it
        os.execve(sys.executable, [sys.executable, "-m", "fedproc.cli", *run], environment)
    said = b""

    def read_until(text: bytes) -> None:
        nonlocal said
        while text not in said:
            assert select.select([terminal], [], [], 90)[0], said
            try:
                said += os.read(terminal, 4096)
            except OSError as error:  # Linux's word for the end of a terminal
                raise AssertionError(f"it ended before it said {text!r}: {said!r}") from error

    def read_or_interrupt() -> bytes:
        """readline overhears the one that comes while it takes over the terminal: a person presses it once more."""
        while not select.select([terminal], [], [], 2)[0]:
            os.write(terminal, b"\x03")
        return os.read(terminal, 4096)

    read_until(b"running")
    os.write(terminal, b"\x03")
    read_until(b"Cancel it now?")
    os.write(terminal, b"\x03")
    with contextlib.suppress(OSError):
        while more := read_or_interrupt():
            said += more
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 130
    (found,) = running.researcher.experiments(label="twice").items
    assert f"{found.id} goes on at the hosts: fedproc follow {found.id}" in said.decode()
    assert b"Aborted" not in said
    assert running.researcher.experiment(found.id).state == "running"
    running.researcher.cancel(found.id)
    assert list(running.researcher.events(found.id))[-1].state == "cancelled"


def test_another_users_experiment_is_not_there(running, fedproc):
    experiment = running.start("host-acceptance", hosts=["UB"])
    running.end(experiment)
    colleague = running.federation.passwords["colleague"]
    said = fedproc(
        "experiments", "show", experiment.id, code=1, FEDPROC_USERNAME="colleague", FEDPROC_PASSWORD=colleague
    )
    assert experiment.id in said
    fedproc("experiments", "show", experiment.id, FEDPROC_USERNAME="operator",
            FEDPROC_PASSWORD=running.federation.passwords["operator"])  # fmt: skip


def test_what_is_deleted_is_gone_and_asks_first(fedproc, running, tmp_path):
    (tmp_path / "mine.csv").write_text("age\n1\n")
    file = json.loads(fedproc("data", "put", str(tmp_path / "mine.csv"), "--json"))["id"]
    assert "say --yes" in fedproc("data", "delete", file, code=1)
    assert f"{file} is deleted" in fedproc("data", "delete", file, "--yes")
    assert file not in fedproc("data", "files")
    started = json.loads(fedproc("run", "host-acceptance", "--host", "UB", "--no-wait", "--json"))["id"]
    fedproc("experiments", "follow", started)
    assert "is deleted: 1 jobs, 1 files" in fedproc("experiments", "delete", started, "--yes")
    assert "no experiment of yours has the id" in fedproc("experiments", "show", started, code=1)
    without = {"FEDPROC_OPERATOR_USERNAME": "", "FEDPROC_OPERATOR_PASSWORD": ""}
    assert "needs the role operator" in fedproc("storage", code=1, **without)
    wait_until(lambda: json.loads(fedproc("storage", "--json"))["counted"], 60, "the relay does not count what is kept")
    assert "free for files" in fedproc("storage")
    assert "nothing is kept of this subject" in fedproc("users", "erase", "nobody", "--yes", code=1)


def test_what_is_prepared_is_started_later_and_has_a_record(fedproc, tmp_path):
    data = [word for host in ("UB", "BSC", "FORTH") for word in ("--data", f"{host}:breast-cohort")]
    said = fedproc("run", "linear-regression", "-p", "formula=age ~ tumour_size", *data, "--prepare")
    (started,) = re.findall(r"fedproc start (e-\w+) starts it", said)
    assert "succeeded" in fedproc("start", started)
    assert "has already ended as succeeded" in fedproc("start", started, code=1)
    fedproc("experiments", "crate", started, "--to", str(tmp_path / "record.zip"))
    assert zipfile.ZipFile(tmp_path / "record.zip").testzip() is None


def test_a_tool_is_sent_in_and_decided(fedproc, running, tmp_path):
    tool = shutil.copytree(ROOT / "docs/examples/row_count", tmp_path / "row_count")
    described = (tool / "tool.yaml").read_text()
    (tool / "tool.yaml").write_text(described.replace("version: 1.0.0", "version: 7.0.0"))
    operator = {"FEDPROC_USERNAME": "operator", "FEDPROC_PASSWORD": running.federation.passwords["operator"]}
    (sent,) = re.findall(r"s-\w+", fedproc("catalog", "submit", str(tool), "--note", "please look"))[:1]
    assert "waits" in fedproc("catalog", "submissions")
    fedproc("catalog", "decide", sent, "--refuse", "--text", "say what it counts", **operator)
    (mine,) = json.loads(fedproc("catalog", "submissions", "--json"))
    assert (mine["id"], mine["state"], mine["text"]) == (sent, "refused", "say what it counts")


def test_a_drained_host_gets_no_job_until_it_is_resumed(fedproc, running):
    operator = {"FEDPROC_USERNAME": "operator", "FEDPROC_PASSWORD": running.federation.passwords["operator"]}
    fedproc("hosts", "drain", "BSC", "--reason", "new disks", **operator)
    assert "new disks" in fedproc("hosts")
    held = running.start("host-acceptance", hosts=["BSC"])
    free = running.start("host-acceptance", hosts=["UB"])
    assert running.end(free)[-1].state == "succeeded"
    assert running.researcher.experiment(held.id).state == "queued"
    fedproc("hosts", "resume", "BSC", **operator)
    assert running.end(held)[-1].state == "succeeded"

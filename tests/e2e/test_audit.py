"""What a host's log proves of a real job, afterwards and offline."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from typing import Any

import pytest
from tests.support.running import Running

from fedproc.demo.polling import wait_until

pytestmark = pytest.mark.needs_federation


def fedproc(*arguments: str) -> str:
    command = [sys.executable, "-m", "fedproc.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


def test_log_of_a_host_says_who_used_what_and_what_left(running: Running) -> None:
    experiment = running.start("row-count", datasets=["UB:breast-cohort"])
    running.end(experiment)
    folder = running.folder / "hosts" / "UB" / "tlog"
    config = str(running.folder / "host-UB.toml")
    asked = ("--config", config, "--experiment", experiment.id, "--json")
    (use,) = json.loads(fedproc("site", "audit", *asked, "--uses"))
    assert (use["state"], use["tool"]["id"]) == ("succeeded", "row-count")
    assert use["datasets"]["breast-cohort"]
    assert [decision["by"] for decision in use["decisions"]] == ["policy"]
    assert len(use["left"]) == len(use["decisions"][0]["files"]) >= 1
    kinds = [entry["kind"] for entry in json.loads(fedproc("site", "audit", *asked))]
    assert kinds == ["job.accepted", "job.started", "release.decided", "output.leaving", "output.uploaded", "job.ended"]
    kept = json.loads(fedproc("site", "audit", "--config", config, "--kind", "host.started", "--json"))
    assert (folder / "policies" / f"{kept[-1]['policy']}.toml").exists()
    assert json.loads(fedproc("audit", "verify", str(folder), "--json"))["whole"] is True


def test_host_and_centre_witness_each_other(running: Running) -> None:
    def log() -> dict[str, Any]:
        found: dict[str, Any] = running.site("UB")["log"]
        return found

    def is_witnessed() -> bool:
        both = log()["witnessed"], log()["centre"]
        return all(found is not None and found["assessment"] == "consistent" for found in both)

    wait_until(is_witnessed, 60, "host and centre have not seen each other's logs")
    shown = running.operator.host("UB")
    assert shown.log is not None
    kept = running.folder / "kept by the centre"
    kept.write_text(shown.log.note)
    folder = running.folder / "hosts" / "UB" / "tlog"
    proved = json.loads(fedproc("audit", "verify", str(folder), "--checkpoint", str(kept), "--json"))
    assert (proved["whole"], proved["covered"]) == (True, shown.log.size)
    centre = running.folder / "central" / "tlog"
    witness = str(folder / "centre.checkpoint")
    assert json.loads(fedproc("audit", "verify", str(centre), "--checkpoint", witness, "--json"))["whole"]


def test_log_that_is_put_back_from_a_copy_is_found(running: Running) -> None:
    folder = running.folder / "hosts" / "BSC" / "tlog"
    with running.without("orchestrator-BSC"):
        shutil.copytree(folder, folder.with_name("tlog.copy"))
    wait_until(running.works, 60, "the host does not start again")
    running.end(running.start("row-count", datasets=["BSC:breast-cohort"]))
    size = len((folder / "entries.jsonl").read_bytes().splitlines())
    wait_until(lambda: _size(running) >= size, 60, "the centre has not seen how the log has grown")
    with running.without("orchestrator-BSC"):
        shutil.move(folder, folder.with_name("tlog.whole"))
        shutil.move(folder.with_name("tlog.copy"), folder)
    wait_until(lambda: _assessment(running) in ("shrunk", "forked"), 60, "the centre does not see it")
    with running.without("orchestrator-BSC"):
        shutil.rmtree(folder)
        shutil.move(folder.with_name("tlog.whole"), folder)
    running.operator.reset_witness("BSC", "the copy was taken away again")
    wait_until(lambda: _assessment(running) == "consistent", 60, "what was accepted is not witnessed")


def _assessment(running: Running) -> str:
    log = running.operator.host("BSC").log
    return "" if log is None else log.assessment


def _size(running: Running) -> int:
    log = running.operator.host("BSC").log
    return 0 if log is None or log.size is None else log.size

"""What a host's log proves of a real job, afterwards and offline."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from tests.support.running import Running

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

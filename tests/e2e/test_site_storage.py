"""What a site's operator sees of datasets and of what is kept, by the commands on the host."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from tests.support.running import Running

pytestmark = pytest.mark.needs_federation


def site(running: Running, *arguments: str) -> str:
    socket = running.folder / "hosts" / "UB" / "site.sock"
    command = [sys.executable, "-m", "fedproc.cli", "site", *arguments, "--socket", str(socket)]
    environment = {**os.environ, "COLUMNS": "1000"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=True).stdout


def test_storage_says_of_each_kind_what_is_kept_and_when_it_goes(running: Running) -> None:
    running.end(running.start("row-count", datasets=["UB:breast-cohort"]))
    found = {entry["kind"]: entry for entry in json.loads(site(running, "storage", "--json"))}
    assert set(found) == {
        "jobs", "job_ids", "unreadable", "tombstones", "outbox", "journal_file", "job_folders", "executor_records",
        "environments", "tools", "packages", "ledger", "fetched", "results", "unpacked_images",
    }  # fmt: skip
    assert found["jobs"]["count"] >= 1
    assert found["jobs"]["following"] is not None
    assert found["tools"]["count"] >= 1
    assert found["tools"]["size"] > 0
    assert found["environments"]["size"] > 0
    assert "records of ended jobs" in site(running, "storage")


def test_dataset_that_cannot_be_read_is_named_with_its_cure(running: Running) -> None:
    assert [entry["id"] for entry in json.loads(site(running, "datasets", "--json"))]
    shown = site(running, "datasets")
    assert "breast-cohort" in shown

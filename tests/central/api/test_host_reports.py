"""The centre keeps the reports of all hosts, and shows them to operators: over HTTP and by ``fedproc hosts survey``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.support.central_api import Federation

from fedproc.contract.times import now
from fedproc.contract.wire.messages import HostReport

pytestmark = pytest.mark.server

ROOT = Path(__file__).parents[3] / "controllers"


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    """A real one, of this machine."""
    command = [sys.executable, "-m", "fedproc.onboarding", "--json", "--only", "gpu,memory,cpu,disk,os"]
    done = subprocess.run(command, env=environment(), capture_output=True, check=False, timeout=180)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), **more}


def send(federation: Federation, host: str, report: dict[str, Any], of: str | None = None) -> None:
    message = HostReport(host=of or host, epoch="one", time=now(), report=report)
    federation.books.take((host, federation.books.hosts.seal(host, message)))


def test_the_last_report_of_each_host_is_kept(federation: Federation, report: dict[str, Any]) -> None:
    send(federation, "UB", {"format": 1, "older": True})
    send(federation, "UB", report)
    with federation.operator() as client:
        answer = client.get("/hosts/reports")
    assert answer.status_code == 200
    found = {entry["host"]: entry for entry in answer.json()}
    assert set(found) == {"UB", "BSC", "FORTH", "EUCAIM"}
    assert found["UB"]["report"] == report
    assert found["UB"]["time"]
    assert found["FORTH"]["report"] is None


def test_a_heartbeat_changes_nothing_of_the_report(federation: Federation, report: dict[str, Any]) -> None:
    send(federation, "BSC", report)
    federation.books.beat("BSC")
    with federation.operator() as client:
        assert {e["host"]: e["report"] for e in client.get("/hosts/reports").json()}["BSC"] == report


def test_a_host_speaks_for_itself_only(federation: Federation, report: dict[str, Any]) -> None:
    send(federation, "BSC", report | {"host": "forged"}, of="EUCAIM")
    with federation.operator() as client:
        assert {e["host"]: e["report"] for e in client.get("/hosts/reports").json()}["EUCAIM"] is None


def test_reports_are_for_operators(federation: Federation) -> None:
    with federation.user() as researcher, federation.host("UB") as host, federation.caller(None) as nobody:
        assert [who.get("/hosts/reports").status_code for who in (researcher, host, nobody)] == [403, 403, 401]


def survey(
    federation: Federation, folder: Path, *arguments: str, role: str = "operator"
) -> subprocess.CompletedProcess[str]:
    """The command as its user runs it, signed in by a session as ``fedproc login`` leaves it."""
    token = {"access_token": federation.issuer.token("olga", role), "token_type": "Bearer", "expires_in": 300}
    session = {"url": federation.url, "token": token, "expires": 2**40}
    (folder / "fedproc").mkdir(exist_ok=True)
    (folder / "fedproc" / "session.json").write_text(json.dumps(session))
    return subprocess.run(
        [sys.executable, "-m", "fedproc.cli", "hosts", "survey", *arguments],
        env=environment(XDG_CONFIG_HOME=str(folder), FEDPROC_URL=federation.url, NO_PROXY="127.0.0.1"),
        capture_output=True, text=True, check=False, timeout=180, cwd=folder,
    )  # fmt: skip


def test_the_survey_shows_all_hosts_as_table_page_and_json(
    federation: Federation, report: dict[str, Any], tmp_path: Path
) -> None:
    send(federation, "UB", report)
    table = survey(federation, tmp_path, "--html", "survey.html")
    assert (table.returncode, table.stderr) == (0, "")
    assert "FORTH   no report yet" in table.stdout
    assert "4 hosts:" in table.stdout
    page = (tmp_path / "survey.html").read_text()
    assert page.startswith("<!doctype html>")
    assert "FORTH" in page
    listed = json.loads(survey(federation, tmp_path, "--json").stdout)
    assert {entry["host"] for entry in listed} == {"UB", "BSC", "FORTH", "EUCAIM"}


def test_the_survey_says_what_is_wrong(federation: Federation, tmp_path: Path) -> None:
    refused = survey(federation, tmp_path, role="researcher")
    assert refused.returncode == 1
    assert refused.stderr.startswith("fedproc: ")
    unwritable = survey(federation, tmp_path, "--html", "no/such/place.html")
    assert (unwritable.returncode, "choose another place" in unwritable.stderr) == (1, True)

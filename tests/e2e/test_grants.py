"""The demo's guarded dataset: who has no grant is told how to get one, and what a job may do ends with it."""

from __future__ import annotations

import base64
import hashlib
import json
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from tests.support.running import Running

from fedproc.client.api import Client
from fedproc.client.results import fetch_results
from fedproc.client.transport import ApiError
from fedproc.contract.api.base import Token
from fedproc.contract.api.experiments import ExperimentRequest, ExperimentView
from fedproc.demo.federation import read_env
from fedproc.demo.guarded import DATASET, HOST, PARAMETERS
from fedproc.demo.negotiations import grant, withdraw

pytestmark = pytest.mark.needs_federation

JOB = f"look@{HOST}"
VERIFIER = "v" * 43


@pytest.fixture
def file(running: Running) -> Iterator[Path]:
    """What the stand-in of the adapter reads; nobody has a grant before, nor after."""
    path = running.folder / "negotiations.json"
    withdraw(path, "researcher", DATASET)
    yield path
    withdraw(path, "researcher", DATASET)


def looking(running: Running, client: Client, seconds: float = 300) -> ExperimentView:
    """A job over the guarded dataset that runs."""
    asked = ExperimentRequest(tool="host-acceptance", datasets=[DATASET], parameters={"seconds": seconds})
    view = client.run(asked)
    running.wait_for(view, JOB, "running")
    return view


def ended(running: Running, view: ExperimentView) -> tuple[str, str | None]:
    running.end(view)
    job = running.jobs(view)[JOB]
    return job.state, job.code


def test_who_has_no_grant_is_told_a_command_that_gives_one(running: Running, file: Path, tmp_path: Path) -> None:
    with pytest.raises(ApiError) as refused:
        running.start("cohort-statistics", datasets=[DATASET], **PARAMETERS)
    assert refused.value.code == "grant.not_granted"
    told = str(refused.value).rpartition(" -m ")[2]
    words = [sys.executable, "-m", *shlex.split(told)]
    told = {"project": "lung-2026", "permit": "N-1", "purpose": "research"}
    words += [word for name, value in told.items() for word in (f"--{name}", value)]
    subprocess.run(words, capture_output=True, check=True)
    with pytest.raises(ApiError) as another:
        running.researcher.run(ExperimentRequest(tool="host-acceptance", datasets=[DATASET], project="another"))
    assert another.value.code == "grant.project"
    view = running.start("cohort-statistics", datasets=[DATASET], **PARAMETERS)
    assert (view.project, view.permit, view.purpose) == tuple(told.values()), "what the grant says is filled in"
    assert view.told_by == dict.fromkeys(told, "negotiations")
    assert running.end(view)[-1].state == "succeeded"
    fetch_results(running.researcher, view.id, tmp_path)
    assert "Project:     lung-2026 (granted, by negotiations)" in (tmp_path / "report.txt").read_text()
    result = json.loads((tmp_path / "EUCAIM" / "result.json").read_bytes())
    age = next(variable for variable in result["variables"] if variable["name"] == "age")
    assert age["mean"] == pytest.approx(62.447, abs=0.001)


def test_a_grant_that_moves_to_another_project_in_mid_run_stops_the_job(running: Running, file: Path) -> None:
    """As one that is withdrawn does, which tests/federation looks at."""
    grant(file, "researcher", DATASET, {"project": "lung-2026"})
    view = looking(running, running.researcher)
    grant(file, "researcher", DATASET, {"project": "another"})
    assert ended(running, view) == ("refused", "grant.withdrawn")


def test_a_stand_in_that_is_away_is_no_refusal(running: Running, file: Path) -> None:
    grant(file, "researcher", DATASET)
    view = looking(running, running.researcher, seconds=10)
    with running.without("negotiations"):
        with pytest.raises(ApiError) as unasked:
            running.start("host-acceptance", datasets=[DATASET])
        assert unasked.value.code == "grant.not_asked"
        assert running.jobs(view)[JOB].state == "running"
    assert ended(running, view) == ("succeeded", None)


def test_a_session_that_has_ended_is_waited_for_and_ends_the_job(running: Running, file: Path) -> None:
    """As the demo's sites have it, a minute long; then it ends as what could not be asked."""
    grant(file, "researcher", DATASET)
    env = read_env(running.folder)
    with httpx.Client(base_url=env["FEDPROC_ISSUER"]) as browser:
        client = Client(env["FEDPROC_URL"], token=signed_in(browser, env))
        view = looking(running, client)
        client.close()
        browser.get("/end-session")
    assert ended(running, view) == ("error", "grant.not_asked")
    assert "session" in running.jobs(view)[JOB].reason


def signed_in(browser: httpx.Client, env: dict[str, str]) -> Token:
    """By authorisation code with PKCE, as the dashboard does it."""
    challenge = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).decode().rstrip("=")
    back = f"{env['FEDPROC_URL']}/dashboard/sign-in/back"
    asked = {
        "client_id": "fedproc-dashboard", "response_type": "code", "redirect_uri": back, "state": "s",
        "code_challenge": challenge, "code_challenge_method": "S256",
    }  # fmt: skip
    form = {"username": env["FEDPROC_USERNAME"], "password": env["FEDPROC_PASSWORD"]}
    led = browser.post("/authorize", params=asked, data=form).headers["location"]
    code = parse_qs(urlsplit(led).query)["code"][0]
    redeemed = {"grant_type": "authorization_code", "client_id": asked["client_id"], "redirect_uri": back}
    answer = browser.post("/token", data={**redeemed, "code": code, "code_verifier": VERIFIER})
    return Token.model_validate(answer.json())

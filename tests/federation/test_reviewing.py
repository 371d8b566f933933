"""A site where persons look at what leaves: UB's policy asks for one before the counts of kaplan-meier go."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.federation.centre import Centre
from tests.federation.machines import Machine

from fedproc.demo.polling import wait_until

PARAMETERS: dict[str, Any] = {"time_grid": {"points": [800, 1600]}, "group": "menopause", "min_cell": 5}
DATASETS = [f"{host}:breast-cohort" for host in ("UB", "BSC", "FORTH")]
SOCKET = "/run/fedproc/review.sock"


@pytest.fixture
def anna(ub: Machine) -> Iterator[str]:
    """An account of UB's reviewers."""
    ub.run("useradd", "--groups", "fedproc-reviewers", "anna")
    yield "anna"
    ub.run("userdel", "anna")


def site(ub: Machine, account: str, *command: str) -> str:
    return ub.run("runuser", "-u", account, "--", "fedproc", "site", *command, "--socket", SOCKET)


def test_what_a_site_shows_a_person_first_leaves_when_that_person_says_so(
    centre: Centre, ub: Machine, anna: str
) -> None:
    experiment = centre.run("kaplan-meier", datasets=DATASETS, **PARAMETERS)
    centre.wait_for(experiment, "UB", "awaiting_release")
    job = next(job for job in centre.view(experiment).jobs if job.host == "UB")
    wait_until(lambda: job.id in site(ub, anna, "releases"), 30, f"{job.id} does not wait at UB")
    shown = json.loads(site(ub, anna, "show", job.id, "--json"))
    assert {finding["rule"] for finding in shown["findings"]} >= {"policy.release"}
    site(ub, anna, "approve", job.id, "--reason", "cells of many persons")
    centre.succeeds(experiment)
    audited = ub.run("fedproc", "site", "audit", "--job", job.id)
    assert "release.reviewed" in audited
    assert "anna" not in audited, "the log names a reviewer by a keyed hash"


def test_who_is_no_reviewer_of_the_site_sees_nothing_of_what_waits(ub: Machine) -> None:
    closed = ub.try_run("runuser", "-u", "nobody", "--", "fedproc", "site", "releases", "--socket", SOCKET)
    assert closed.returncode != 0

"""Both demo experiments, by containers at every host, through the gateway's one port."""

from __future__ import annotations

import json
from pathlib import Path

from tests.federation.centre import Centre
from tests.federation.machines import Machine

from fedproc.client.results import fetch_results
from fedproc.demo.data import COHORT_PARAMETERS, differences

HOSTS = ["UB", "BSC", "FORTH"]


def result(centre: Centre, experiment: str, folder: Path) -> dict:
    fetch_results(centre.researcher, experiment, folder)
    return json.loads((folder / "EUCAIM" / "result.json").read_bytes())


def test_cohort_statistics_equals_the_pooled_data(centre: Centre, tmp_path: Path) -> None:
    datasets = [f"{host}:breast-cohort" for host in HOSTS]
    experiment = centre.run("cohort-statistics", datasets=datasets, **COHORT_PARAMETERS)
    centre.succeeds(experiment)
    assert max(differences(result(centre, experiment, tmp_path)).values()) < 1e-9


def test_flower_learns(centre: Centre, tmp_path: Path) -> None:
    experiment = centre.run("flower-logistic", datasets=[f"{host}:wisconsin" for host in HOSTS], rounds=8)
    centre.succeeds(experiment)
    rounds = result(centre, experiment, tmp_path)["rounds"]
    assert len(rounds) == 8
    assert rounds[-1]["loss"] < rounds[0]["loss"] / 2
    assert rounds[-1]["accuracy"] > 0.9


def test_jobs_run_in_containers_of_the_published_image(centre: Centre, ub: Machine) -> None:
    experiment = centre.run("host-acceptance", hosts=["UB"], seconds=20)
    centre.wait_for(experiment, "UB", "running")
    job = centre.view(experiment).jobs[0].id
    seen = json.loads(ub.run("docker", "ps", "--no-trunc", "--format", "json").splitlines()[0])
    inspected = json.loads(ub.run("docker", "inspect", seen["ID"]))[0]
    assert job in seen["Names"]
    assert inspected["HostConfig"]["NetworkMode"] == "none"
    assert inspected["Config"]["User"] not in ("", "0", "root")
    centre.succeeds(experiment)
    assert ub.run("docker", "ps", "--all", "--quiet").strip() == ""


def test_a_compute_host_gets_its_files_through_the_centre(centre: Centre) -> None:
    centre.succeeds(centre.run("host-acceptance", hosts=["CESGA"]))

"""Images that lie in a folder, behind a Data API and in a PACS: one experiment, for who has a grant for all of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.federation.centre import Centre
from tests.federation.machines import Machine
from tests.federation.test_grants import Negotiations

from fedproc.client.results import fetch_results
from fedproc.client.transport import ApiError
from fedproc.contract.api.experiments import ExperimentRequest, ExperimentView
from fedproc.demo.configuration import AGGREGATOR, DATA_HOSTS
from fedproc.demo.imaging import FOLDER, PERSONS, pooled_images
from fedproc.demo.polling import wait_until

DATASETS = [f"{host}:{FOLDER}" for host in DATA_HOSTS]
ASKED = ExperimentRequest(tool="dicom-summary", datasets=DATASETS, parameters={})


@pytest.fixture
def granted(machine: Machine) -> Iterator[dict[str, Negotiations]]:
    """The researcher has a grant for each, before and after, as ``make federation`` leaves it; by dataset."""
    held = {dataset: Negotiations(machine, dataset) for dataset in DATASETS}
    for one in held.values():
        one.grant("researcher")
    yield held
    for one in held.values():
        one.grant("researcher")


def offered(centre: Centre) -> set[str]:
    return {one.id for one in centre.researcher.datasets()}


def summary(centre: Centre, view: ExperimentView, folder: Path) -> dict[str, dict[str, int]]:
    """How many persons have each value, as the result says of all hosts together."""
    fetch_results(centre.researcher, view.id, folder)
    together: dict[str, Any] = json.loads((folder / AGGREGATOR / "result.json").read_bytes())["together"]
    assert together["persons"] == sum(PERSONS.values())
    return {name: {count["value"]: count["persons"] for count in together[name]} for name in pooled_images()}


def test_each_host_has_its_images_in_another_way(centre: Centre) -> None:
    """What a job is given comes from there, as nothing else has it on the machine."""
    ub, bsc, forth = map(Machine, DATA_HOSTS)
    assert 'source = "http"' in ub.run("cat", "/etc/fedproc/host.toml")
    assert 'source = "dicomweb"' in bsc.run("cat", "/etc/fedproc/host.toml")
    for one in (ub, bsc):
        assert one.try_run("test", "-e", f"/srv/datasets/{FOLDER}").returncode != 0
    assert forth.try_run("test", "-d", f"/srv/datasets/{FOLDER}").returncode == 0
    archived = json.loads(bsc.run("curl", "-sSfK", "/root/pacs.curl", "http://127.0.0.1:8042/statistics"))
    assert archived["CountPatients"] == PERSONS["BSC"]
    refused = bsc.run("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "http://127.0.0.1:8042/statistics")
    assert refused == "401", "who has no account there"
    closed = ub.try_run("runuser", "-u", "nobody", "--", "cat", f"/srv/images/{FOLDER}/dataset.json")
    assert closed.returncode != 0
    wait_until(lambda: set(DATASETS) <= offered(centre), 120, "not all three are offered", pause=1)


def test_one_experiment_over_all_three_equals_the_pooled_answer(
    centre: Centre, granted: dict[str, Negotiations], tmp_path: Path
) -> None:
    view = centre.researcher.run(ASKED)
    centre.succeeds(view.id, 480)
    assert summary(centre, view, tmp_path) == pooled_images()
    for host in DATA_HOSTS[:2]:
        left = Machine(host).run("find", "/var/lib/fedproc/fetched/jobs", "-mindepth", "1", "-maxdepth", "1")
        assert left.split() == [], "of what was fetched, nothing stays among jobs"


def test_a_user_without_grants_is_refused_and_told_for_which(centre: Centre, granted: dict[str, Negotiations]) -> None:
    with pytest.raises(ApiError) as refused:
        centre.operator.run(ASKED)
    assert (refused.value.status, refused.value.code) == (403, "grant.not_granted")
    assert all(dataset in str(refused.value) for dataset in DATASETS)


def test_a_grant_for_two_of_them_does_not_do(centre: Centre, granted: dict[str, Negotiations]) -> None:
    without = DATASETS[1]
    granted[without].withdraw("researcher")
    with pytest.raises(ApiError) as refused:
        centre.researcher.run(ASKED)
    assert (refused.value.status, refused.value.code) == (403, "grant.not_granted")
    assert [dataset for dataset in DATASETS if dataset in str(refused.value)] == [without]


def test_a_grant_that_is_withdrawn_in_mid_run_stops_that_hosts_job(
    centre: Centre, granted: dict[str, Negotiations]
) -> None:
    """At the host with the Data API, where the dataset was fetched for the job."""
    view = centre.researcher.run(
        ExperimentRequest(tool="host-acceptance", datasets=[DATASETS[0]], parameters={"seconds": 300})
    )
    centre.wait_for(view.id, "UB", "running", 240)
    granted[DATASETS[0]].withdraw("researcher")
    ended = centre.wait_until_ended(view.id, 120)
    assert [(job.state, job.code) for job in ended.jobs] == [("refused", "grant.withdrawn")], ended.jobs

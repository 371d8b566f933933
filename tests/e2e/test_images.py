"""Images, from what a host says of them to what an experiment selects: through API, broker, orchestrator, sandbox."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.support.running import Running

from fedproc.client.results import fetch_results
from fedproc.contract.api.experiments import ExperimentRequest, ExperimentView
from fedproc.demo.imaging import FOLDER, PERSONS, pooled_images
from fedproc.demo.polling import wait_until

pytestmark = pytest.mark.needs_federation


def start(running: Running, hosts: tuple[str, ...] = tuple(PERSONS), **more: Any) -> ExperimentView:
    datasets = [f"{host}:{FOLDER}" for host in hosts]
    return running.researcher.run(ExperimentRequest(tool="dicom-summary", datasets=datasets, **more))


def together(running: Running, experiment: ExperimentView, folder: Path) -> dict[str, Any]:
    events = running.end(experiment)
    assert events[-1].state == "succeeded", [event.reason for event in events if event.reason]
    fetch_results(running.researcher, experiment.id, folder)
    return dict(json.loads((folder / "EUCAIM" / "result.json").read_bytes())["together"])


def counts(found: dict[str, Any], name: str) -> dict[str, int]:
    return {count["value"]: count["persons"] for count in found[name]}


def test_federated_counts_of_images_are_those_of_all_in_one_place(running: Running, tmp_path: Path) -> None:
    found = together(running, start(running), tmp_path)
    assert {name: counts(found, name) for name in pooled_images()} == pooled_images()


def test_experiment_sees_what_it_selects_alone(running: Running, tmp_path: Path) -> None:
    chosen = {"selection": {"modality": ["MR"], "age_to": 60}, "dataset_selections": {f"UB:{FOLDER}": {"sex": ["F"]}}}
    experiment = start(running, ("UB", "BSC"), **chosen)
    assert experiment.selection is not None
    found = together(running, experiment, tmp_path)
    women, imaged = PERSONS["UB"] // 2, counts(found, "modality")
    assert counts(found, "sex")["F"] >= women
    assert found["persons"] < PERSONS["UB"] + PERSONS["BSC"]
    assert counts(found, "segmentations")["SEG"] == found["persons"] == imaged["CT"] + imaged["MR"]
    left = [path for host in PERSONS for path in Path(running.folder).glob(f"hosts/{host}/**/cohorts/*")]
    assert left == []


def test_selection_of_few_is_refused_with_its_cure(running: Running) -> None:
    experiment = start(running, ("UB",), selection={"patient": ["SYNTHETIC-UB-000"]})
    running.end(experiment)
    job = running.jobs(experiment)["local@UB"]
    assert (job.state, job.code) == ("refused", "policy.selection")
    assert "select otherwise" in str(job.reason)


def test_researcher_sees_of_images_numbers_that_the_host_rounded(running: Running) -> None:
    wait_until(lambda: running.researcher.dataset(f"UB:{FOLDER}").imaging is not None, 60, "UB says nothing of images")
    found = running.researcher.dataset(f"UB:{FOLDER}").imaging
    assert found is not None
    assert found.persons is not None
    assert found.persons % found.floor == 0
    assert set(found.modality.persons) == {"CT", "MR", "SEG"}
    assert all(count % found.floor == 0 for count in found.modality.persons.values())

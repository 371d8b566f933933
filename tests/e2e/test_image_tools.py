"""Tools over images, and a model that its user puts up: through API, broker, orchestrator, sandbox and release."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from tests.support.running import ROOT, Running

from fedproc.client.results import fetch_results
from fedproc.demo.imaging import FOLDER, PERSONS

pytestmark = [pytest.mark.needs_federation, pytest.mark.timeout(900)]
"""hosts build the environment of a tool at its first run"""

DATASETS = [f"{host}:{FOLDER}" for host in PERSONS]
TRAINED = ROOT / "tool_catalog/flower_image/test/example_output/server/model.npz"


def test_quality_of_all_images_is_told_and_leaves_by_itself(running: Running, tmp_path: Path) -> None:
    experiment = running.start("dicom-quality", datasets=DATASETS)
    events = running.end(experiment)
    assert events[-1].state == "succeeded", [event.reason for event in events if event.reason]
    fetch_results(running.researcher, experiment.id, tmp_path)
    found = json.loads((tmp_path / "EUCAIM" / "result.json").read_bytes())["together"]
    assert (found["persons"], found["series"]) == (sum(PERSONS.values()), 2 * sum(PERSONS.values()))
    assert [group["checks"] for group in found["groups"]] == [[]] * 4


def test_features_of_lesions_are_added_up_and_leave_by_themselves(running: Running, tmp_path: Path) -> None:
    experiment = running.start("radiomics-statistics", datasets=DATASETS, modality="CT")
    events = running.end(experiment)
    assert events[-1].state == "succeeded", [event.reason for event in events if event.reason]
    fetch_results(running.researcher, experiment.id, tmp_path)
    together = json.loads((tmp_path / "EUCAIM" / "result.json").read_bytes())["together"]
    (found,) = [entry for entry in together["features"] if entry["feature"] == "diameter"]
    assert found["moments"]["persons"] == together["persons"] == sum(PERSONS.values()) // 2
    assert found["moments_of"] == sorted(PERSONS)


def test_model_of_a_training_is_measured_at_each_host(running: Running, tmp_path: Path) -> None:
    digest = hashlib.sha256(TRAINED.read_bytes()).hexdigest()
    asked = {"sha256": digest, "kind": "lesions", "size": 8}
    experiment = running.start("model-inference", datasets=DATASETS, **asked)
    for job in experiment.jobs:
        running.researcher.put_input(job.id, "model", TRAINED)
    events = running.end(experiment)
    assert events[-1].state == "succeeded", [event.reason for event in events if event.reason]
    fetch_results(running.researcher, experiment.id, tmp_path)
    for host in PERSONS:
        told = json.loads((tmp_path / host / "metrics.json").read_bytes())
        assert told["model"] == {"sha256": digest, "format": "npz"}
        assert told["discrimination_in_pairs"][0]["auc"] > 0.8


def test_another_model_than_was_named_is_not_run(running: Running) -> None:
    experiment = running.start("model-inference", datasets=DATASETS[:1], sha256="0" * 64, kind="lesions", size=8)
    running.researcher.put_input(experiment.jobs[0].id, "model", TRAINED)
    running.end(experiment)
    (job,) = running.jobs(experiment).values()
    assert job.state == "failed"
    assert running.researcher.results(experiment.id) == []

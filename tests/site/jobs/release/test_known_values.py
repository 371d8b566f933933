"""What an output may repeat, since it was known before the tool ran."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import cast

import pytest

from fedproc.contract.tool.task import Task
from fedproc.contract.wire.messages import JobOrder
from fedproc.site.jobs.record import JobRecord
from fedproc.site.jobs.release.known_values import known_of
from fedproc.site.jobs.services import Services
from fedproc.site.jobs.workspace import Workspace

TASK = Task.model_validate(
    {
        "name": "combine",
        "placement": "client",
        "runtime": {"requirements": "r"},
        "command": ["x"],
        "inputs": [
            {"name": "sites", "kind": "output", "task": "local"},
            {"name": "letter", "kind": "upload"},
            {"name": "data", "kind": "dataset"},
        ],
    }
)
ORDER = {
    "job": "j-" + "0" * 26,
    "experiment": "e-" + "0" * 26,
    "task": "combine",
    "tool": {"id": "km", "version": "1.0.0", "digest": "sha256:" + "0" * 64},
    "user": {"sub": "rosa"},
    "deadlines": dict.fromkeys(("start_by", "end_by", "release_by"), "2030-01-01T00:00:00Z"),
    "parameters": {"columns": ["age"], "grid": {"step": 0.5}},
    "datasets": [{"id": "cohort", "version": "2"}],
    "hosts": {"local": ["BSC"]},
}
DESCRIBED = {"version": 7, "notes": "Dr X", "columns": [{"name": "stage", "unit": "", "values": ["I", "II"]}, 3]}


@pytest.fixture
def known(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "dataset.json").write_text(json.dumps(DESCRIBED))
    settings = SimpleNamespace(host="UB", datasets={"cohort": SimpleNamespace(source="folder", path=tmp_path / "data")})
    services = SimpleNamespace(settings=settings, workspace=lambda job: Workspace(tmp_path / "jobs", job))
    record = JobRecord(order=JobOrder.model_validate(ORDER))
    folder = services.workspace(record.job).input
    for name in ("sites", "letter"):
        (folder / name / "BSC").mkdir(parents=True)
        (folder / name / "BSC" / "a.json").write_text(json.dumps({"unit": f"of {name}"}))
        (folder / name / "BSC" / "b.json").write_bytes(b"\xff[[[")
    return known_of(cast(Services, services), record, TASK)


@pytest.mark.parametrize(
    ("source", "value", "is_known"),
    [
        ("parameters", "age", True), ("parameters", "columns", True), ("parameters", 0.5, True),
        ("parameters", 1.5, False),
        ("steps", 1.5, True), ("steps", 0, True), ("steps", 1.25, False), ("steps", 500.5, False),
        ("order", "UB", True), ("order", "BSC", True), ("order", ORDER["job"], True), ("order", "rosa", False),
        ("dataset", "cohort", True), ("dataset", "stage", True), ("dataset", "II", True), ("dataset", "Dr X", False),
        ("inputs", "of sites", True), ("inputs", "of letter", False), ("elsewhere", "age", False),
        ("dataset", "", True), ("dataset", "2", True), ("dataset", "7", True),
    ],
)  # fmt: skip
def test_source_has_what_was_known_and_nothing_else(known, source, value, is_known):
    assert known.holds([source], value) is is_known


def test_nothing_is_read_before_it_is_asked_for(tmp_path):
    services = cast(Services, SimpleNamespace())
    assert known_of(services, JobRecord(order=JobOrder.model_validate(ORDER)), TASK).holds(["parameters"], "age")

"""A manifest says which numbers a running task shows, in a place over which readers of the release before pass."""

from __future__ import annotations

import pytest
from pydantic import ValidationError
from tests.support.sample_tools import task, tool

from fedproc.catalog.signing import canonical_content, tool_digest
from fedproc.contract.tool.checks import hints
from fedproc.contract.tool.tool import Manifest, Tool
from fedproc.contract.wire.jws import canonical

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}}
LOSS = [{"name": "loss"}, {"name": "seconds", "unit": "s"}]


def test_declared_metrics_come_back_as_they_were_written() -> None:
    made = Manifest(tool=tool("one", task("a", metrics=LOSS), task("b"), parameters=SCHEMA), files=())
    content = canonical(canonical_content(made))
    read = Manifest.model_validate_json(content)
    assert read == made
    assert canonical(canonical_content(read)) == content
    assert [metric.name for metric in read.tool.task("a").metrics] == ["loss", "seconds"]
    assert read.tool.parameters == SCHEMA


def test_declared_metrics_are_no_key_of_a_task_on_the_wire() -> None:
    for parameters in ({}, {"parameters": SCHEMA}):
        content = canonical_content(Manifest(tool=tool("one", task("a", metrics=LOSS), **parameters), files=()))
        assert "metrics" not in content["tool"]["tasks"][0]
        assert content["tool"]["parameters"]["x-metrics"] == {"a": LOSS}
        assert content["tool"]["parameters"]["type"] == "object"


def test_tool_without_metrics_has_the_digest_that_it_had() -> None:
    content = canonical_content(Manifest(tool=tool("one", task("a")), files=()))
    assert "parameters" not in content["tool"]
    assert tool_digest(Manifest(tool=tool("one", task("a")), files=())).startswith("sha256:")


@pytest.mark.parametrize(
    ("metrics", "fault"),
    [
        ([{"name": "loss"}, {"name": "loss"}], "metric loss defined twice"),
        ([{"name": "0"}], "pattern"),
        ([{"name": f"m{number}"} for number in range(33)], "at most 32"),
        (["loss"], "metrics"),
    ],
)
def test_metrics_that_are_wrong_are_refused(metrics: object, fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        tool("one", task("a", metrics=metrics))


@pytest.mark.parametrize("declared", [{"b": LOSS}, [], None, {"a": 3}])
def test_keyword_that_names_no_task_is_refused(declared: object) -> None:
    with pytest.raises(ValidationError):
        Tool.model_validate(
            tool("one", task("a")).model_dump(mode="json") | {"parameters": {**SCHEMA, "x-metrics": declared}}
        )


def test_tool_that_writes_what_nobody_sees_is_told() -> None:
    command = ["{python}", "{source}/run.py", "{metrics}"]
    assert hints(tool("one", task("a", command=command)).tasks) == [
        "task a: writes {metrics} and declares no 'metrics': none of them is shown to anybody"
    ]
    assert not hints(tool("one", task("a", command=command, metrics=LOSS)).tasks)

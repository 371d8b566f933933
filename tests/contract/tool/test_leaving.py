"""What a declaration alone says of an output's way out is what the host's rules come to where nothing is against it."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedproc.catalog.folder import load_tool
from fedproc.contract.tool.leaving import DEFAULT_RELEASE, leaving
from fedproc.contract.tool.task import Disclosure, Task
from fedproc.site.policy.examples import examples_of
from fedproc.site.policy.policy_file import Policy, ToolRule

ROOT = Path(__file__).parents[3]
OUTCOMES = {"pass": "leaves", "review": "waits", "refuse": "never"}


def outcome(disclosure: str, how: str, *, waived: bool = False, content: str | None = None, data: bool = True) -> str:
    declared = {"type": content} if content else None
    output = {"name": "o", "path": "o.bin", "disclosure": disclosure, "content": declared}
    inputs = [{"name": "d", "kind": "dataset"}] if data else []
    values = {"name": "t", "placement": "client", "runtime": {"requirements": "r.lock"}, "command": ["true"]}
    task = Task.model_validate({**values, "inputs": inputs, "outputs": [output]})
    return leaving(task, task.outputs[0], how, waived=waived).outcome  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cohort_statistics", "host_acceptance"])
def test_tools_examples_end_as_their_declarations_say(name: str) -> None:
    folder = ROOT / "tool_catalog" / name
    tool = load_tool(folder).tool
    for example in examples_of(tool, folder):
        task = next(task for task in tool.tasks if task.name == example.task)
        how = Policy().release_of(ToolRule(id=tool.id, digest="*"), example.output)
        assert leaving(task, example.output, how).outcome == OUTCOMES[str(example.result)], example.output.name


@pytest.mark.parametrize(
    ("disclosure", "how", "more", "expected"),
    [
        ("aggregate", "never", {}, "never"),
        ("aggregate", "never", {"waived": True}, "never"),
        ("aggregate", "automatic", {}, "waits"),
        ("aggregate", "automatic", {"waived": True}, "leaves"),
        ("model", "automatic", {"content": "model"}, "waits"),
        ("individual", "automatic", {"content": "model"}, "waits"),
        ("report", "automatic", {}, "waits"),
        ("report", "automatic", {"data": False}, "leaves"),
        ("report", "manual", {"data": False}, "waits"),
    ],
)
def test_outcome_follows_from_policy_and_declaration(disclosure: str, how: str, more: dict, expected: str) -> None:  # type: ignore[type-arg]
    assert outcome(disclosure, how, **more) == expected


def test_default_of_a_dry_run_is_the_default_of_a_site() -> None:
    assert Policy().release == dict(DEFAULT_RELEASE)
    assert Disclosure.individual not in DEFAULT_RELEASE
    told = Policy().released()
    assert told is not None
    assert told.floor == 10
    assert Policy(tell_release=False).released() is None


def test_line_of_every_version_tells_that_a_person_looks() -> None:
    policy = Policy.model_validate(
        {
            "release": {"aggregate": "automatic"},
            "tools": [
                {"id": "a", "digest": "*"},
                {"id": "b", "digest": "sha256:" + "0" * 64, "without_review": ["model"]},
            ],
        }
    )
    every, one = policy.admitted()
    assert (every.release, every.without_review) == ({"aggregate": "manual"}, ())
    assert (one.release, one.without_review) == ({}, ("model",))

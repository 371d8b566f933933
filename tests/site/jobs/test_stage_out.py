"""What may leave: the refusal that a researcher reads."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from fedproc.common.errors import RefusedError
from fedproc.contract.tool.task import Task
from fedproc.site.jobs.services import Services
from fedproc.site.jobs.stage_out import check
from fedproc.site.policy.rules import Policy


def task_writing(*outputs: dict[str, Any]) -> Task:
    return Task.model_validate(
        {
            "name": "local",
            "placement": "client",
            "runtime": {"requirements": "r.lock"},
            "command": ["true"],
            "outputs": [{"path": "t.json", "disclosure": "aggregate", **output} for output in outputs],
        }
    )


async def refusal_of(folder, task: Task) -> RefusedError:
    for output in task.outputs:
        (folder / output.name).mkdir()
        (folder / output.name / "patients of Dr X.json").write_text('{"rows": 3, "n": 40}')
    policy = Policy.model_validate({"release": {"aggregate": "automatic"}, "tools": [{"id": "km", "digest": "*"}]})
    services = cast(Services, SimpleNamespace(policy=policy))
    with pytest.raises(RefusedError) as caught:
        await check(services, policy.tools[0], task, folder)
    return caught.value


async def test_a_small_count_names_output_and_field_alone(tmp_path):
    refused = await refusal_of(tmp_path, task_writing({"name": "table", "min_count_fields": ["n", "rows"]}))
    assert refused.code == "release.small_count"
    assert "table: holds counts of persons from 1 to below 5 in rows" in refused.message
    assert "suppress or join small groups" in refused.message
    assert not {"3", "40", "Dr"} & set(refused.message.split())


async def test_each_output_that_never_leaves_is_named(tmp_path):
    people = {"name": "people", "disclosure": "individual"}
    refused = await refusal_of(tmp_path, task_writing(people, {"name": "table", "min_count_fields": ["rows"]}))
    assert refused.code == "release.forbidden"
    assert "people: outputs of class individual never leave this site" in refused.message
    assert "table: " in refused.message

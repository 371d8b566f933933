"""What may leave: the refusal that a researcher reads."""

from __future__ import annotations

import hashlib
from types import SimpleNamespace
from typing import Any, cast

import pytest
from joserfc.jwk import ECKey

from fedproc.common.errors import RefusedError, ToolFaultError
from fedproc.common.keys import Signer
from fedproc.contract.ids import new_id
from fedproc.contract.tool.task import Task
from fedproc.contract.wire import limits
from fedproc.contract.wire.jws import CENTRAL, seal, unseal
from fedproc.contract.wire.messages import JobOrder
from fedproc.site.jobs.record import JobRecord
from fedproc.site.jobs.services import Services
from fedproc.site.jobs.stage_out import check, upload
from fedproc.site.policy.rules import Policy

KEY = ECKey.generate_key("P-256")


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


class Transfer:
    def __init__(self) -> None:
        self.sent: list[str] = []

    async def upload(self, new: Any, source: Any, on_wait: Any) -> str:
        self.sent.append(new.path)
        return new_id("f")


def _job(folder, name: str, count: int) -> tuple[JobRecord, Task]:
    (folder / "many").mkdir()
    digest = hashlib.sha256(b"x").hexdigest()
    sealed = {f"many/{n:05}{name}": digest for n in range(count)}
    for path in sealed:
        (folder / path).write_bytes(b"x")
    order = JobOrder.model_validate(
        {
            "job": new_id("j"),
            "experiment": new_id("e"),
            "task": "local",
            "tool": {"id": "t", "version": "1.0.0", "digest": "sha256:" + "0" * 64},
            "user": {"sub": "rosa"},
            "deadlines": dict.fromkeys(("start_by", "end_by", "release_by"), "2030-01-01T00:00:00Z"),
        }
    )
    record = JobRecord(order=order, sealed=sealed)
    return record, task_writing({"name": "many", "path": "many", "folder": True})


async def test_all_of_many_outputs_are_sent(tmp_path):
    record, task = _job(tmp_path, "x" * 120, 450)
    services = cast(Services, SimpleNamespace(transfer=Transfer()))
    record.outputs = await upload(services, record, task, tmp_path, lambda _: None)
    assert len(record.outputs) == 450
    raw = seal(record.snapshot("UB", "e" * 32), Signer(KEY), iss="UB", aud=CENTRAL)
    assert len(unseal(raw, Signer(KEY).trusted, aud=CENTRAL)[1].outputs) == 450  # type: ignore[attr-defined]


async def test_of_outputs_whose_list_nobody_could_read_none_is_sent(tmp_path, monkeypatch):
    record, task = _job(tmp_path, "x" * 120, 450)
    monkeypatch.setattr(limits, "MESSAGE_BYTES", 200 << 10)
    transfer = Transfer()
    with pytest.raises(ToolFaultError, match=r"list of its 450 output files has .* the centre reads 0\.20 MiB: pack"):
        await upload(cast(Services, SimpleNamespace(transfer=transfer)), record, task, tmp_path, lambda _: None)
    assert transfer.sent == []


@pytest.mark.parametrize("name", ["x" * 120, "\N{GRINNING FACE}" * 40], ids=["ascii", "four bytes each"])
async def test_the_list_is_reckoned_no_smaller_than_it_becomes(tmp_path, monkeypatch, name):
    record, task = _job(tmp_path, name, 300)
    services = cast(Services, SimpleNamespace(transfer=Transfer()))
    record.outputs = await upload(services, record, task, tmp_path, lambda _: None)
    size = len(seal(record.snapshot("UB", "e" * 32), Signer(KEY), iss="UB", aud=CENTRAL))
    monkeypatch.setattr(limits, "MESSAGE_BYTES", size)
    record.outputs = ()
    with pytest.raises(ToolFaultError):
        await upload(services, record, task, tmp_path, lambda _: None)

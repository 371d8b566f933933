"""What may leave: the refusal that a researcher reads."""

from __future__ import annotations

import base64
import errno
import hashlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from joserfc.jwk import ECKey
from tests.support.masking import MaskingHosts

from fedproc.common.errors import RefusedError, SystemFaultError, ToolFaultError
from fedproc.common.keys import Signer
from fedproc.contract.api.grants import JobGrants
from fedproc.contract.ids import new_id
from fedproc.contract.tool.privacy import Spent
from fedproc.contract.tool.task import InputDecl, Task
from fedproc.contract.wire import limits
from fedproc.contract.wire.datasets import DatasetGrant
from fedproc.contract.wire.jws import CENTRAL, seal, unseal
from fedproc.contract.wire.messages import JobOrder
from fedproc.site.jobs import artefacts
from fedproc.site.jobs.record import JobRecord
from fedproc.site.jobs.release import masking, room, stage_out
from fedproc.site.jobs.release.stage_out import check, release, terms_of, upload
from fedproc.site.jobs.reviewing import Decision
from fedproc.site.jobs.services import Services
from fedproc.site.policy.policy_file import Policy, ToolRule

DIGEST = "sha256:" + "0" * 64
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


def ordered(tool: str) -> JobOrder:
    return JobOrder.model_validate(
        {
            "job": new_id("j"),
            "experiment": new_id("e"),
            "task": "local",
            "tool": {"id": tool, "version": "1.0.0", "digest": DIGEST},
            "user": {"sub": "rosa"},
            "deadlines": dict.fromkeys(("start_by", "end_by", "release_by"), "2030-01-01T00:00:00Z"),
        }
    )


async def refusal_of(folder, task: Task) -> RefusedError:
    for output in task.outputs:
        (folder / output.name).mkdir()
        (folder / output.name / "patients of Dr X.json").write_text('{"rows": 3, "n": 40}')
    services = cast(Services, SimpleNamespace(policy=policy("automatic", tool="km")))
    with pytest.raises(RefusedError) as caught:
        await check(services, JobRecord(order=ordered("km")), task, folder)
    return caught.value


@pytest.mark.process
async def test_refusal_says_the_same_whatever_was_found(tmp_path):
    people = {"name": "people", "disclosure": "individual"}
    counted = {"name": "table", "min_count_fields": ["rows"]}
    by_a_rule = await refusal_of(make(tmp_path / "a"), task_writing(counted))
    by_its_class = await refusal_of(make(tmp_path / "b"), task_writing(people))
    both = await refusal_of(make(tmp_path / "c"), task_writing(people, counted))
    assert by_a_rule.code == by_its_class.code == both.code == "release.withheld"
    assert by_a_rule.message == by_its_class.message == both.message
    assert not {"3", "40", "Dr", "rows", "table", "people"} & set(both.message.split())


@pytest.mark.process
async def test_rules_and_thresholds_are_told_to_the_hosts_log_alone(tmp_path, caplog):
    caplog.set_level("INFO")
    await refusal_of(tmp_path, task_writing({"name": "table", "min_count_fields": ["rows"]}))
    (line,) = [record.msg for record in caplog.records if "persons.floor" in str(record.msg)]
    assert line["event"] == "release.finding"
    assert (line["version"], line["result"], line["output"]) == (1, "refuse", "table")
    assert "Dr X" not in str(line)


def make(folder: Path) -> Path:
    folder.mkdir()
    return folder


class Transfer:
    def __init__(self) -> None:
        self.sent: list[str] = []

    async def upload(self, new: Any, source: Any, on_wait: Any) -> str:
        self.sent.append(new.path)
        return new_id("f")


def sending(transfer: Transfer, how: str = "automatic") -> Services:
    return cast(Services, SimpleNamespace(transfer=transfer, policy=policy(how)))


def policy(how: str, *, tool: str = "t", minimum: int = 5) -> Policy:
    line = {"id": tool, "digest": DIGEST, "without_review": ["aggregate"]}
    return Policy.model_validate(
        {"release": {"aggregate": how}, "minimum_count": minimum, "tools": [line], "review": {"sample": 0}}
    )


def _job(folder, name: str, count: int) -> tuple[JobRecord, Task]:
    (folder / "many").mkdir()
    digest = hashlib.sha256(b"x").hexdigest()
    sealed = {f"many/{n:05}{name}": digest for n in range(count)}
    for path in sealed:
        (folder / path).write_bytes(b"x")
    record = JobRecord(order=ordered("t"), sealed=sealed)
    return record, task_writing({"name": "many", "path": "many", "folder": True})


@pytest.mark.slow
async def test_all_of_many_outputs_are_sent(tmp_path):
    record, task = _job(tmp_path, "x" * 120, 450)
    services = sending(Transfer())
    record.outputs = await upload(services, record, task, tmp_path, lambda _: None)
    assert len(record.outputs) == 450
    raw = seal(record.snapshot("UB", "e" * 32), Signer(KEY), iss="UB", aud=CENTRAL)
    assert len(unseal(raw, Signer(KEY).trusted, aud=CENTRAL)[1].outputs) == 450  # type: ignore[attr-defined]


async def test_of_outputs_whose_list_nobody_could_read_none_is_sent(tmp_path, monkeypatch):
    record, task = _job(tmp_path, "x" * 120, 450)
    monkeypatch.setattr(limits, "MESSAGE_BYTES", 200 << 10)
    transfer = Transfer()
    with pytest.raises(ToolFaultError, match=r"list of its 450 output files has .* the centre reads 0\.20 MiB: pack"):
        await upload(sending(transfer), record, task, tmp_path, lambda _: None)
    assert transfer.sent == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["x" * 120, "\N{GRINNING FACE}" * 40], ids=["ascii", "four bytes each"])
async def test_the_list_is_reckoned_no_smaller_than_it_becomes(tmp_path, monkeypatch, name):
    record, task = _job(tmp_path, name, 300)
    services = sending(Transfer())
    record.outputs = await upload(services, record, task, tmp_path, lambda _: None)
    size = len(seal(record.snapshot("UB", "e" * 32), Signer(KEY), iss="UB", aud=CENTRAL))
    monkeypatch.setattr(limits, "MESSAGE_BYTES", size)
    record.outputs = ()
    with pytest.raises(ToolFaultError):
        await upload(services, record, task, tmp_path, lambda _: None)


# -- a policy that is changed while a job runs, waits, or is being sent ------------------------------


@pytest.mark.parametrize(
    ("before", "now", "counts"),
    [
        ("automatic", "never", "never"),
        ("automatic", "manual", "manual"),
        ("manual", "automatic", "manual"),
        ("never", "manual", "never"),
        ("automatic", "automatic", "automatic"),
    ],
)
async def test_of_the_policy_at_the_start_and_the_present_one_the_stricter_counts(before, now, counts):
    task = task_writing({"name": "table"})
    record = JobRecord(order=ordered("t"), terms=policy(before).terms(policy(before).tools[0], task))
    assert terms_of(sending(Transfer(), now), record, task).of("table") == counts


DEMANDS: dict[str, dict[str, Any]] = {
    "secure sums": {"secure_sums": True},
    "differential privacy": {"differential_privacy": {"epsilon": 1.0, "delta": 1e-6}},
}


@pytest.mark.parametrize("what", DEMANDS)
async def test_demand_that_comes_while_a_job_waits_keeps_what_does_not_meet_it(tmp_path, what):
    """Its policy is another one when it is about to leave than when it was admitted."""
    record, task = _job(tmp_path, "x", 1)
    transfer = Transfer()
    task = task.model_copy(update={"inputs": (InputDecl(name="table", kind="dataset"),)})
    services = sending(transfer)
    record.terms = terms_of(services, record, task)
    services.policy = demanding(**DEMANDS[what])
    with pytest.raises(RefusedError, match=f"this site demands {what}") as caught:
        await upload(services, record, task, tmp_path, lambda _: None)
    assert (caught.value.code, transfer.sent) == ("policy.privacy", [])


async def test_demand_that_a_job_meets_keeps_nothing(tmp_path):
    record, task = _job(tmp_path, "x", 1)
    task = task.model_copy(update={"inputs": (InputDecl(name="table", kind="dataset"),)})
    record.masked, record.private = frozenset({"many"}), Spent(0.5, 1e-7)
    services = sending(Transfer())
    services.policy = demanding(**DEMANDS["secure sums"], **DEMANDS["differential privacy"])
    assert terms_of(services, record, task).of("many") == "automatic"
    record = JobRecord.model_validate(record.as_json())
    assert record.private == Spent(0.5, 1e-7)


def demanding(**demands: Any) -> Policy:
    lenient = policy("automatic")
    return lenient.model_copy(update={"tools": (ToolRule(id="t", digest=DIGEST, **demands),)})


async def test_larger_of_two_minimum_counts_counts():
    task = task_writing({"name": "table"})
    record = JobRecord(order=ordered("t"), terms=policy("manual", minimum=6).terms(policy("manual").tools[0], task))
    assert terms_of(sending(Transfer()), record, task).floor == 6


async def test_job_whose_tool_is_admitted_no_more_sends_nothing(tmp_path):
    record, task = _job(tmp_path, "x", 1)
    transfer = Transfer()
    services = cast(Services, SimpleNamespace(transfer=transfer, policy=policy("automatic", tool="other")))
    with pytest.raises(RefusedError) as caught:
        await release(services, record, task, tmp_path, _undecided, lambda _: None)
    assert caught.value.code == "policy.tool_unknown"
    assert transfer.sent == []


async def _undecided(_: Any) -> None:
    raise AssertionError("nobody is to decide")


class Turning(Transfer):
    """While its first file is sent, the site changes its policy."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.services: Any = None

    async def upload(self, new: Any, source: Any, on_wait: Any) -> str:
        self.services.policy = policy(self.how)
        return await super().upload(new, source, on_wait)


@pytest.mark.process
async def test_policy_that_is_changed_to_never_while_outputs_are_sent_stops_them(tmp_path):
    record, task = _job(tmp_path, "x", 3)
    transfer = Turning("never")
    transfer.services = services = sending(transfer)
    with pytest.raises(RefusedError) as caught:
        await release(services, record, task, tmp_path, _undecided, lambda _: None)
    assert caught.value.code == "release.withheld"
    assert len(transfer.sent) == 1


@pytest.mark.process
async def test_policy_that_is_changed_to_manual_while_outputs_are_sent_asks_a_person(tmp_path):
    record, task = _job(tmp_path, "x", 3)
    transfer = Turning("manual")
    transfer.services = services = sending(transfer)
    asked: list[Any] = []

    async def decided(_policy: Any, found: Any) -> None:
        asked.append(found)
        record.decision = Decision(release=False, reason="no", hashes=record.sealed or {})

    with pytest.raises(RefusedError) as caught:
        await release(services, record, task, tmp_path, decided, lambda _: None)
    assert caught.value.code == "release.refused"
    assert (len(asked), len(transfer.sent)) == (1, 1)


@pytest.mark.process
async def test_policy_that_is_changed_to_never_while_a_person_thinks_outdoes_the_release(tmp_path):
    record, task = _job(tmp_path, "x", 1)
    transfer = Transfer()
    services = sending(transfer, "manual")

    async def decided(_policy: Any, _: Any) -> None:
        record.decision = Decision(release=True, reason="yes", hashes=record.sealed or {})
        services.policy = policy("never")

    with pytest.raises(RefusedError):
        await release(services, record, task, tmp_path, decided, lambda _: None)
    assert transfer.sent == []


class Withdrawn(Transfer):
    """The grant is gone when the site has decided."""

    async def grants(self, host: str, job: str) -> JobGrants:
        return JobGrants(job=job, answer="not_granted", reason="it was withdrawn")


@pytest.mark.process
@pytest.mark.parametrize("how", ["automatic", "manual"])
async def test_grant_that_is_withdrawn_after_the_run_lets_nothing_leave(tmp_path, how):
    record, task = _job(tmp_path, "x", 1)
    grant = DatasetGrant(dataset="cohort", provider="eucaim")
    record.order = record.order.model_copy(update={"grants": (grant,)})
    transfer = Withdrawn()
    services = cast(
        Services, SimpleNamespace(transfer=transfer, policy=policy(how), settings=SimpleNamespace(host="UB"))
    )

    async def decided(_policy: Any, _: Any) -> None:
        record.decision = Decision(release=True, reason="yes", hashes=record.sealed or {})

    with pytest.raises(RefusedError) as caught:
        await release(services, record, task, tmp_path, decided, lambda _: None)
    assert caught.value.code == "grant.withdrawn"
    assert transfer.sent == []


GROUP = {"name": "sums", "content": None, "statistics": [{"statistic": "frequencies", "persons": "n"}]}


class Kept(Transfer):
    """Keeps what is sent, as the centre would."""

    def __init__(self) -> None:
        super().__init__()
        self.received: list[tuple[str, int, bytes]] = []

    async def upload(self, new: Any, source: Any, on_wait: Any) -> str:
        self.received.append((new.sha256, new.size, source.read_bytes()))
        return await super().upload(new, source, on_wait)


def _masked_job(tmp_path: Path, hosts: MaskingHosts) -> tuple[JobRecord, Task]:
    (tmp_path / "sums").mkdir()
    plain = tmp_path / "sums" / "t.json"
    plain.write_text('{"n": 123456789}')
    sealed = {"sums/t.json": hashlib.sha256(plain.read_bytes()).hexdigest()}
    record = JobRecord(order=hosts.order("UB"), sealed=sealed, masked=frozenset({"sums"}))
    return record, task_writing(GROUP)


def _masking(transfer: Transfer, tmp_path: Path, hosts: MaskingHosts) -> Services:
    services = sending(transfer)
    settings = SimpleNamespace(host="UB")
    return cast(
        Services,
        SimpleNamespace(
            transfer=transfer,
            policy=services.policy,
            settings=settings,
            identity=SimpleNamespace(key=hosts.keys["UB"]),
            workspace=lambda job: SimpleNamespace(root=tmp_path / "work"),
        ),
    )


async def test_what_is_to_leave_masked_never_leaves_plain_and_is_the_same_bytes_again(tmp_path):
    hosts, transfer = MaskingHosts(), Kept()
    record, task = _masked_job(tmp_path, hosts)
    services = _masking(transfer, tmp_path, hosts)
    (sent,) = await upload(services, record, task, tmp_path, lambda _: None)
    await upload(services, record, task, tmp_path, lambda _: None)
    (digest, size, received), again = transfer.received
    assert again == (digest, size, received)
    assert (sent.sha256, sent.size) == (digest, size) == (hashlib.sha256(received).hexdigest(), len(received))
    assert b"123456789" not in received
    assert json.loads(received)["document"]["n"].startswith("masked:")
    assert digest != record.sealed["sums/t.json"]


async def test_sealed_file_that_was_changed_is_not_masked_and_sent(tmp_path):
    hosts, transfer = MaskingHosts(), Kept()
    record, task = _masked_job(tmp_path, hosts)
    (tmp_path / "sums" / "t.json").write_text('{"n": 1}')
    with pytest.raises(SystemFaultError, match="changed after it was sealed"):
        await upload(_masking(transfer, tmp_path, hosts), record, task, tmp_path, lambda _: None)
    assert transfer.received == []


@pytest.mark.parametrize("what", ["masked", "receipt", "question"])
async def test_full_disk_after_the_decision_is_waited_for_and_nothing_is_sent_twice(tmp_path, monkeypatch, what):
    monkeypatch.setattr(room, "_PAUSE", 0.001)
    hosts, transfer, said = MaskingHosts(), Kept(), []
    record, task = _masked_job(tmp_path, hosts)
    services = _masking(transfer, tmp_path, hosts)
    if what == "receipt":
        record.masked, own = frozenset(), X25519PrivateKey.generate().public_key().public_bytes_raw()
        record.order = record.order.model_copy(update={"encrypt_to": base64.b64encode(own).decode()})
    owner, name = {
        "masked": (masking, "write_atomically"),
        "receipt": (artefacts, "write_atomically"),
        "question": (stage_out, "findings_apart"),
    }[what]
    real, left = getattr(owner, name), [2]

    def full(*arguments):
        if left[0]:
            left[0] -= 1
            raise OSError(errno.ENOSPC, "No space left on device")
        return [] if what == "question" else real(*arguments)

    monkeypatch.setattr(owner, name, full)
    if what == "question":
        assert await check(services, record, task, tmp_path, {}, said.append) == []
    else:
        await upload(services, record, task, tmp_path, said.append)
        assert len(transfer.sent) == 1
    assert said[-3:] == [room.WAITING, room.WAITING, None]

"""What the transparency log has of a job before it is done, and that nothing is done which it cannot hold."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from joserfc.jwk import ECKey
from tests.support.disks import Disk
from tests.support.orchestrator import SECONDS, Host, S, order

from fedproc.common.errors import RefusedError
from fedproc.common.keys import Signer
from fedproc.common.tlog.entries import Entry
from fedproc.common.tlog.folder import ENTRIES
from fedproc.common.tlog.verification import read_entries, verify
from fedproc.contract.api.files import NewUpload
from fedproc.contract.wire.jws import CENTRAL, seal
from fedproc.contract.wire.messages import DatasetUse, JobOrder, User
from fedproc.site.centre.api import Transfer
from fedproc.site.jobs import inbox as inbox_module
from fedproc.site.jobs import logged, termination
from fedproc.site.jobs.inbox import Inbox
from fedproc.site.jobs.record import Decision, JobRecord
from fedproc.site.journal import Journal
from fedproc.site.tlog import log as log_module
from fedproc.site.tlog.log import WAITING, HostLogError
from fedproc.site.tlog.uses import uses
from fedproc.site.tools.cache import InstalledTool
from fedproc.site.tools.logged import tool_installed

pytestmark = pytest.mark.slow  # a log on a disk, for each


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(termination, "_FIRST_PAUSE", 0.01)
    monkeypatch.setattr(termination, "_LONGEST_PAUSE", 0.02)
    monkeypatch.setattr(log_module, "_FIRST_PAUSE", 0.01)
    monkeypatch.setattr(log_module, "_LONGEST_PAUSE", 0.02)
    monkeypatch.setattr(inbox_module, "_REDELIVERY_PAUSE", 0.01)


@pytest.fixture
async def host(tmp_path: Path, journal: Journal) -> AsyncIterator[Host]:
    host = Host(tmp_path, journal, ())
    host.services.policy = host.services.policy.model_copy(update={"purposes": ("survival of the fittest",)})
    host.services.tlog.policy = "f" * 64
    yield host
    await host.orchestrator.close()


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def entries(host: Host) -> list[Entry]:
    path = host.services.tlog.folder / ENTRIES
    return list(read_entries(path)) if path.exists() else []


def kinds(host: Host) -> list[str]:
    return [entry.kind for entry in entries(host)]


def asking(**changes: Any) -> JobOrder:
    update = {"purpose": "survival of the fittest", "user": User(sub="alice", name="Alice Liddell")}
    return order().model_copy(update=update | changes)


async def test_log_says_to_which_key_results_are_to_be_encrypted(host: Host) -> None:
    raw = X25519PrivateKey.generate().public_key().public_bytes_raw()
    key = base64.b64encode(raw).decode()
    encrypted = await logged.accepted(host.services, asking(encrypt_to=key))
    assert encrypted.data()["encrypt_to"] == hashlib.sha256(raw).hexdigest()
    assert "encrypt_to" not in (await logged.accepted(host.services, asking())).data()


async def until(condition: Any) -> None:
    async with asyncio.timeout(SECONDS):
        while not condition():
            await asyncio.sleep(0.01)


async def test_job_stands_in_the_log_from_its_acceptance_to_its_end(host: Host) -> None:
    told_by = {"project": "eucaim"}
    asked = asking(datasets=(DatasetUse(id="breast", version="v3"),), project="EUCAIM-7", told_by=told_by | {"x": "y"})
    await host.orchestrator.accept(asked)
    await host.runs(asked.job)
    host.executor.exit_code = 0
    host.executor.running[asked.job].set()
    await host.ended(asked.job)
    assert kinds(host) == ["job.accepted", "job.started", "job.ended"]
    assert verify(host.services.tlog.folder).whole
    (use,) = uses(entries(host))
    assert (use.job, use.experiment, use.state) == (asked.job, asked.experiment, "succeeded")
    assert (use.tool["digest"], use.datasets, use.project) == (asked.tool.digest, {"breast": "v3"}, "EUCAIM-7")
    assert use.told_by == told_by, "whose word it is, of the terms that the log has"
    assert use.purpose == "survival of the fittest", "the site's policy names it"
    assert entries(host)[1].data["policy"] == "f" * 64


async def test_log_names_no_person(host: Host) -> None:
    asked = asking(purpose="as Dr. Liddell asked", project="for Rosa")
    await host.orchestrator.accept(asked)
    text = (host.services.tlog.folder / ENTRIES).read_text()
    assert not any(word in text for word in ("alice", "Alice", "Liddell", "Rosa"))
    assert entries(host)[0].data["user"] == (await host.services.tlog.pseudonyms()).of("user", "alice")


async def test_subject_is_named_where_the_sites_policy_says_so(host: Host) -> None:
    host.services.policy = host.services.policy.model_copy(update={"log_subjects": True})
    await host.orchestrator.accept(asking())
    assert entries(host)[0].data["user"] == "subject:alice"


async def test_job_whose_order_comes_again_is_not_noted_again(host: Host) -> None:
    asked = asking()
    await host.orchestrator.accept(asked)
    host.orchestrator.stop()
    await host.ended(asked.job)
    await host.orchestrator.accept(asked)
    assert kinds(host).count("job.accepted") == 1


async def test_job_that_cannot_be_noted_is_not_taken_and_comes_again(host: Host, disk: Disk) -> None:
    disk.full, asked = True, asking()
    key = ECKey.generate_key("P-256")
    inbox = Inbox(host.services, host.orchestrator, cast(Any, None), {key.thumbprint(): key})
    given_back = asyncio.Event()
    raw = seal(asked, Signer(key), iss=CENTRAL, aud="UB")
    acked = asyncio.Event()
    message: Any = SimpleNamespace(body=raw, nack=given_back.set, ack=acked.set)
    await inbox.job(message)
    assert given_back.is_set()
    assert not acked.is_set()
    assert not await host.journal.has(asked.job)
    assert "transparency log" in str(host.services.holds.held)
    assert "make room there" in str(host.services.holds.held)
    disk.full = False
    await host.services.tlog.probe()
    assert host.services.holds.held is None
    await inbox.job(message)
    assert acked.is_set()
    assert kinds(host) == ["log.resumed", "job.accepted"]


async def test_job_that_cannot_be_noted_does_not_start_and_goes_on_when_there_is_room(host: Host, disk: Disk) -> None:
    host.tools.hold()
    asked = asking()
    await host.orchestrator.accept(asked)
    disk.full = True
    host.tools._there.set()
    run = host.orchestrator.runs[asked.job]
    await until(lambda: run.record.waiting_for == WAITING)
    assert host.executor.started == []
    assert host.services.holds.held is not None
    disk.full = False
    await host.runs(asked.job)
    assert host.services.holds.held is None
    assert kinds(host) == ["job.accepted", "job.started"]


async def test_job_that_waits_for_the_log_can_be_stopped(host: Host, disk: Disk) -> None:
    host.tools.hold()
    asked = asking()
    await host.orchestrator.accept(asked)
    disk.full = True
    host.tools._there.set()
    run = host.orchestrator.runs[asked.job]
    await until(lambda: run.record.waiting_for == WAITING)
    host.orchestrator.stop()
    await until(lambda: (run.obstacle or "").startswith("report: the transparency log"))
    disk.full = False
    assert (await host.ended(asked.job)).state is S.cancelled
    assert host.executor.started == []
    assert kinds(host)[-1] == "job.ended"


async def test_streams_are_those_that_the_log_has_since_the_start(host: Host) -> None:
    host.services.policy = host.services.policy.model_copy(update={"logs": True})
    asked = asking()
    await host.orchestrator.accept(asked)
    await host.runs(asked.job)
    assert tuple(entries(host)[-1].data["streams"]) == ("stdout", "stderr")
    assert host.orchestrator.runs[asked.job].record.streams == ("stdout", "stderr")


async def test_job_that_has_succeeded_keeps_its_folder_while_its_end_cannot_be_logged(
    host: Host, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(termination, "_PATIENCE", 0.0)
    asked = asking()
    await host.orchestrator.accept(asked)
    await host.runs(asked.job)
    run = host.orchestrator.runs[asked.job]
    made_room = list[bool]()

    async def note_room(_self: termination.Termination) -> None:
        made_room.append(True)

    monkeypatch.setattr(termination.Termination, "_make_room", note_room)
    disk.full = True
    host.executor.exit_code = 0
    host.executor.running[asked.job].set()
    await until(lambda: (run.obstacle or "").startswith("report: the transparency log"))
    failed = disk.flushes
    disk.full = False
    assert (await host.ended(asked.job)).state is S.succeeded
    assert made_room == []
    assert disk.flushes > failed


async def test_tool_waits_until_the_log_can_have_it(host: Host, disk: Disk) -> None:
    manifest: Any = SimpleNamespace(tool=SimpleNamespace(id="t", version="1"))
    note, waits = tool_installed(host.services.tlog), asyncio.Queue[str | None]()
    disk.full = True
    digest = "sha256:" + "a" * 64
    task = asyncio.create_task(note(InstalledTool(manifest, Path(), digest), waits.put_nowait))
    assert await waits.get() == WAITING
    disk.full = False
    await task
    assert kinds(host)[-1] == "tool.installed"


# -- what leaves ---------------------------------------------------------------------------------


def uploading(host: Host, handler: Any) -> Transfer:
    http = httpx.AsyncClient(transport=httpx.MockTransport(handler))
    identity: Any = SimpleNamespace(token=lambda: None)
    transfer = Transfer("http://centre.example", identity, http)
    transfer._auth = cast(Any, None)
    return transfer


def output(job: str, name: str = "table", digest: str = "a" * 64) -> NewUpload:
    return NewUpload(job=job, output=name, path="t.json", size=0, sha256=digest, media_type="application/json")


def view(request: httpx.Request) -> httpx.Response:
    import json

    sent = json.loads(request.content)
    entry = {
        "id": "f-" + "0" * 26, "uri": "http://x/f", "path": sent["path"], "state": "complete", "size": 0, "received": 0,
        "media_type": "application/json", "owner": "alice", "created": "2026-11-29T00:00:00Z",
    }  # fmt: skip
    return httpx.Response(201, json=entry)


async def test_no_byte_leaves_before_the_log_has_who_let_it_go(host: Host, tmp_path: Path, disk: Disk) -> None:
    record, asked = JobRecord(order=asking()), list[str]()
    record.sealed = {"table/patients of Dr X.json": "a" * 64}

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(kinds(host)[-1])
        return view(request)

    transfer = uploading(host, answer)
    transfer.observer = logged.LoggedUploads(host.services, lambda job: record)
    disk.full, waits = True, asyncio.Queue[str | None]()
    task = asyncio.create_task(transfer.upload(output(record.job), tmp_path / "t.json", waits.put_nowait))
    assert await waits.get() == WAITING
    assert asked == []
    disk.full = False
    await task
    assert asked == ["output.leaving"]
    assert kinds(host) == ["release.decided", "output.leaving", "output.uploaded"]
    decided = entries(host)[0].data
    assert (decided["decision"], decided["by"], decided["policy"]) == ("released", "policy", "f" * 64)
    assert decided["files"] == [{"output": "table", "sha256": "a" * 64}]
    assert "patients" not in (host.services.tlog.folder / ENTRIES).read_text()


async def test_decision_is_noted_once_for_all_files_and_again_when_a_person_decides(host: Host, tmp_path: Path) -> None:
    record = JobRecord(order=asking())
    record.sealed = {"table/a.json": "a" * 64, "table/b.json": "b" * 64}
    transfer = uploading(host, view)
    transfer.observer = logged.LoggedUploads(host.services, lambda job: record)
    for digest in ("a" * 64, "b" * 64):
        await transfer.upload(output(record.job, digest=digest), tmp_path / "t.json", lambda _: None)
    record.decision = Decision(release=True, reason="patient 12 looks good", hashes=record.sealed)
    await transfer.upload(output(record.job), tmp_path / "t.json", lambda _: None)
    decided = [entry.data["by"] for entry in entries(host) if entry.kind == "release.decided"]
    assert decided == ["policy", "person"]
    assert "patient 12" not in (host.services.tlog.folder / ENTRIES).read_text()
    assert uses(entries(host))[0].left == ["a" * 64, "b" * 64, "a" * 64]


async def test_refusal_is_noted_with_its_code(host: Host) -> None:
    record = JobRecord(order=asking(), sealed={"table/a.json": "a" * 64})
    error = RefusedError("a text for the researcher", code="release.count")
    await logged.note_refusal(host.services, record, error, lambda _: None)
    assert dict(entries(host)[0].data) == {
        "job": record.job, "experiment": record.order.experiment, "decision": "refused", "by": "policy",
        "code": "release.count", "policy": "f" * 64, "files": [{"output": "table", "sha256": "a" * 64}],
    }  # fmt: skip


@pytest.mark.slow
async def test_release_of_very_many_files_has_several_entries(host: Host) -> None:
    record = JobRecord(order=asking(), sealed={f"table/{n}": f"{n:064x}" for n in range(25_000)})
    await logged.note_refusal(host.services, record, RefusedError("no"), lambda _: None)
    assert sum(len(entry.data["files"]) for entry in entries(host)) == 25_000


async def test_log_that_fails_says_so_to_whoever_cancels(host: Host, disk: Disk) -> None:
    disk.full = True
    with pytest.raises(HostLogError):
        await host.orchestrator.accept(asking())
    assert host.orchestrator.runs == {}

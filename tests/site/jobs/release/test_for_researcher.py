"""Released outputs that are encrypted to their researcher: the centre gets nothing that it could read."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from tests.site.jobs.release.test_stage_out import ordered, policy, task_writing
from tests.support.sample_tools import COUNTS, need, task, tool

from fedproc.common.errors import SystemFaultError
from fedproc.contract.api.files import NewUpload
from fedproc.contract.ids import new_id
from fedproc.contract.wire.crypt4gh import MEDIA_TYPE, decrypt_file
from fedproc.contract.wire.messages import CRITICAL
from fedproc.site.jobs.logged import LoggedUploads
from fedproc.site.jobs.record import JobRecord
from fedproc.site.jobs.release import stage_out
from fedproc.site.jobs.release.review import _needed_elsewhere
from fedproc.site.jobs.release.stage_out import upload
from fedproc.site.jobs.services import Services

OWN = X25519PrivateKey.generate()
KEY = base64.b64encode(OWN.public_key().public_bytes_raw()).decode()
PLAIN = b'{"rows": 40}' * 9000


class Transfer:
    """Keeps what is sent; the ``cut`` first attempts come to nothing."""

    def __init__(self, cut: int = 0) -> None:
        self.sent: list[tuple[Any, bytes]] = []
        self.tried: list[bytes] = []
        self._cut = cut

    async def upload(self, new: Any, source: Path, on_wait: Any) -> str:
        content = await asyncio.to_thread(source.read_bytes)
        self.tried.append(content)
        if len(self.tried) <= self._cut:
            raise ConnectionError("cut")
        self.sent.append((new, content))
        return new_id("f")


class Site:
    def __init__(self, folder: Path, *, key: str | None = KEY, cut: int = 0) -> None:
        self.sealed = folder / "sealed"
        for name in ("table", "other"):
            (self.sealed / name).mkdir(parents=True)
            (self.sealed / name / "t.json").write_bytes(PLAIN)
        self.transfer = Transfer(cut)
        workspace = SimpleNamespace(root=folder / "job")
        self.services = cast(
            Services,
            SimpleNamespace(transfer=self.transfer, policy=policy("automatic"), workspace=lambda job: workspace),
        )
        order = ordered("t").model_copy(update={"encrypt_to": key})
        digest = hashlib.sha256(PLAIN).hexdigest()
        self.record = JobRecord(order=order, sealed={"table/t.json": digest, "other/t.json": digest})
        self.task = task_writing({"name": "table"}, {"name": "other"})

    async def upload(self, taken: frozenset[str] = frozenset()) -> Any:
        return await upload(
            self.services, self.record, self.task, self.sealed, lambda _: None, self.record.sealed, taken
        )


async def test_what_goes_is_for_the_researcher_alone_and_names_what_was_decided(tmp_path: Path) -> None:
    site = Site(tmp_path)
    outputs = await site.upload()
    assert len(outputs) == 2
    for output, (new, content) in zip(outputs, site.transfer.sent, strict=True):
        assert PLAIN[:30] not in content
        assert (new.plain_sha256, new.media_type) == (hashlib.sha256(PLAIN).hexdigest(), MEDIA_TYPE)
        assert new.sha256 == hashlib.sha256(content).hexdigest()
        assert (output.plain_sha256, output.sha256) == (new.plain_sha256, new.sha256)
        assert NewUpload.model_validate(new.model_dump()) == new
        (tmp_path / "came").write_bytes(content)
        assert decrypt_file(tmp_path / "came", tmp_path / "back", OWN.private_bytes_raw()) == new.plain_sha256
        assert (tmp_path / "back").read_bytes() == PLAIN


async def test_what_other_tasks_read_and_what_has_no_key_goes_as_it_is(tmp_path: Path) -> None:
    site = Site(tmp_path / "a")
    await site.upload(frozenset({"table"}))
    assert [(new.output, new.plain_sha256 is None, content == PLAIN) for new, content in site.transfer.sent] == [
        ("table", True, True), ("other", False, False),
    ]  # fmt: skip
    without = Site(tmp_path / "b", key=None)
    await without.upload()
    assert [(new.plain_sha256, content) for new, content in without.transfer.sent] == [(None, PLAIN)] * 2


async def test_what_is_masked_never_goes_without_its_mask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Encrypted instead, its researcher would read what only the sum over all hosts may tell."""
    site, masked = Site(tmp_path), tmp_path / "masked"
    masked.write_bytes(b"masked")
    monkeypatch.setattr(stage_out.masking, "write_masked", lambda *_: masked)
    site.record.masked = frozenset({"table"})
    await site.upload()
    assert [content == b"masked" for new, content in site.transfer.sent if new.output == "table"] == [True]


async def test_after_a_cut_the_same_bytes_go_again_and_none_twice(tmp_path: Path) -> None:
    """Encrypted anew it would be other bytes, which the centre refuses."""
    site = Site(tmp_path, cut=1)
    with pytest.raises(ConnectionError):
        await site.upload()
    first = await site.upload()
    assert site.transfer.tried[0] == site.transfer.sent[0][1]
    assert await site.upload() == first
    assert len(site.transfer.sent) == 2


async def test_file_that_was_swapped_after_the_decision_does_not_go(tmp_path: Path) -> None:
    site = Site(tmp_path)
    (site.sealed / "table" / "t.json").write_bytes(b"rows of patients")
    with pytest.raises(SystemFaultError, match="changed after it was sealed"):
        await site.upload()
    assert site.transfer.tried == []


async def test_log_has_both_hashes(tmp_path: Path) -> None:
    site, entries = Site(tmp_path), list[Any]()

    async def append(entry: Any, on_wait: Any) -> None:
        entries.append(entry)

    site.services.tlog = cast(Any, SimpleNamespace(append_persistently=append, policy=None))
    await site.upload()
    new, content = site.transfer.sent[0]
    await LoggedUploads(site.services, lambda _: site.record).begins(new, lambda _: None)
    decided, leaving = entries[0], entries[-1]
    assert {file.sha256 for file in decided.files} == {hashlib.sha256(PLAIN).hexdigest()}
    assert (leaving.plain_sha256, leaving.sha256) == (
        hashlib.sha256(PLAIN).hexdigest(),
        hashlib.sha256(content).hexdigest(),
    )
    assert leaving.encrypt_to == hashlib.sha256(OWN.public_key().public_bytes_raw()).hexdigest()


@pytest.mark.parametrize("optional", [False, True])
def test_what_other_tasks_may_take_is_known_from_the_manifest(optional: bool) -> None:
    entry = {"name": "counts", "kind": "output", "task": "local", "output": "counts", "optional": optional}
    local = task("local", outputs=[COUNTS, {**COUNTS, "name": "own", "path": "own.json"}])
    made = tool("two", local, task("total", "server", inputs=[entry], needs=[need("local", "exited")]))
    assert _needed_elsewhere(made, made.task("local"), optional=True) == {"counts"}
    assert _needed_elsewhere(made, made.task("total"), optional=True) == set()


def test_host_that_does_not_know_it_must_refuse_the_order() -> None:
    assert "encrypt_to" in CRITICAL["job"]

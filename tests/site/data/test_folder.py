"""A host's datasets: each for itself, and looked at in the background."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from fedproc.site.data import folder as module
from fedproc.site.data.folder import FolderDataApi
from fedproc.site.settings import DatasetSettings


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "good"
    path.mkdir()
    (path / "dataset.json").write_text(json.dumps({"version": "3"}))
    return path


def api(seconds: float = 0.0, **paths: Path) -> FolderDataApi:
    return FolderDataApi({name: DatasetSettings(path=path) for name, path in paths.items()}, seconds)


@pytest.mark.parametrize("content", [b"{", b"\xff", b"[" * 100_000, b'{"version": "\\ud800"}'])
async def test_one_bad_description_hides_no_other_dataset_and_is_told_once(
    good: Path, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "dataset.json").write_bytes(content)
    data = api(bad=tmp_path / "bad", good=good)
    with capture_logs() as logs:
        assert [(one.id, one.version) for one in await data.offers()] == [("good", "3")]
        await data.offers()
    assert [line["dataset"] for line in logs if line["event"] == "dataset.unreadable"] == ["bad"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
async def test_byte_order_mark_of_a_description_is_no_part_of_it(good: Path, encoding: str) -> None:
    (good / "dataset.json").write_bytes('{"version": "4", "description": "Größe"}'.encode(encoding))
    [offer] = await api(good=good).offers()
    assert (offer.version, offer.description) == ("4", "Größe")


async def test_folder_that_has_gone_is_not_offered(good: Path, tmp_path: Path) -> None:
    data = api(gone=tmp_path / "gone", good=good)
    assert [one.id for one in await data.offers()] == ["good"]


async def test_error_below_a_dataset_ends_nothing(good: Path) -> None:
    here = good
    (good / "loop").symlink_to("loop")
    for _ in range(3):
        here = here / "folder"
        here.mkdir()
        (here / "file").write_bytes(b"12345")
    [offer] = await api(good=good).offers()
    assert (offer.files, offer.size) == (4, 15 + (good / "dataset.json").stat().st_size)


async def test_dataset_is_not_walked_again_at_each_heartbeat(good: Path) -> None:
    data = api(seconds=60.0, good=good)
    await data.offers()
    (good / "more").write_bytes(b"1")
    [offer] = await data.offers()
    assert offer.files == 1


async def test_large_dataset_keeps_no_heartbeat_waiting(good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FIRST_SECONDS", 0.05)
    walked = asyncio.Event()

    async def slowly(*_: object) -> None:
        await walked.wait()

    monkeypatch.setattr(FolderDataApi, "_looked_at", slowly)
    assert await api(good=good).offers() == ()
    walked.set()


async def test_dataset_that_cannot_be_read_is_shown_with_folder_reason_and_cure(good: Path, tmp_path: Path) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "dataset.json").write_text("{")
    (tmp_path / "file").write_text("")
    data = api(good=good, gone=tmp_path / "gone", bad=tmp_path / "bad", file=tmp_path / "file")
    assert all(found.offer is None and found.problem is None for found in data.conditions())
    await data.offers()
    found = {one.id: one for one in data.conditions()}
    assert found["good"].offer is not None
    assert (found["good"].problem, found["good"].cure) == (None, None)
    assert found["gone"].path == tmp_path / "gone"
    assert "No such file" in str(found["gone"].problem)
    assert "datasets.gone.path" in str(found["gone"].cure)
    assert "datasets.file.path" in str(found["file"].cure)
    assert f"mend {tmp_path / 'bad' / 'dataset.json'}" in str(found["bad"].cure)


@pytest.mark.parametrize("name", ["a b", "a;touch x", "it's"])
def test_cure_for_a_folder_of_any_name_is_a_command_of_that_folder(tmp_path: Path, name: str) -> None:
    cure = module._cure("d", DatasetSettings(path=tmp_path / name), PermissionError(13, "Permission denied"))
    assert shlex.split(cure.partition(": ")[2])[-1] == str(tmp_path / name)


async def test_dataset_that_is_mended_is_shown_as_good_again(tmp_path: Path) -> None:
    data = api(late=tmp_path / "late")
    await data.offers()
    assert data.conditions()[0].problem
    (tmp_path / "late").mkdir()
    await data.offers()
    assert data.conditions()[0].problem is None


async def test_look_that_nobody_waits_for_walks_no_further(good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(50):
        (good / f"{number}").mkdir()
    begun, go_on, walked = threading.Event(), threading.Event(), []
    real = os.walk

    def slowly(folder: Path) -> Iterator[Any]:
        for entry in real(folder):
            begun.set()
            go_on.wait(10)
            walked.append(entry)
            yield entry

    monkeypatch.setattr(module.os, "walk", slowly)
    data = api(good=good)
    looking = asyncio.create_task(data._looked_at("good", DatasetSettings(path=good)))
    await asyncio.to_thread(begun.wait, 10)
    looking.cancel()
    asyncio.get_running_loop().call_later(0.05, go_on.set)
    with pytest.raises(asyncio.CancelledError):
        await looking
    assert len(walked) == 1


async def test_byte_order_mark_before_a_description_does_not_matter(good: Path) -> None:
    (good / "dataset.json").write_bytes(b'\xef\xbb\xbf{"version": "4"}')
    assert [offer.version for offer in await api(good=good).offers()] == ["4"]

"""A host's datasets: each for itself, and looked at in the background."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

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

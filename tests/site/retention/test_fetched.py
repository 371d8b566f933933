"""What was fetched from a PACS is counted with all else that a host keeps; who fetches removes it."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from fedproc.site.data.remote.file_store import Store
from fedproc.site.dataset_settings import DatasetSettings
from fedproc.site.retention.fetched import FetchedFiles
from fedproc.site.retention.kept import DAY

REMOTE: dict[str, Any] = {"source": "dicomweb", "url": "https://pacs.example/dicom-web", "query": {"Modality": "CT"}}


def fetched(store: Store, content: bytes) -> Path:
    with store.incoming(1 << 20) as come:
        come.write(content)
        return store.path(store.take(come).sha256)


async def test_files_of_all_stores_are_counted_once(tmp_path: Path) -> None:
    usual, own = Store(tmp_path / "fetched", 1 << 20), Store(tmp_path / "own", 1 << 20)
    used, unused = fetched(usual, b"used"), fetched(usual, b"unused by jobs")
    fetched(own, b"elsewhere")
    (tmp_path / "link").hardlink_to(used)
    now = time.time()
    os.utime(unused, (now - 40 * DAY, now))
    os.utime(used, (now - 50 * DAY, now))
    settings = cast(Any, SimpleNamespace(state=tmp_path, datasets={
        "ct": DatasetSettings.model_validate(REMOTE),
        "mr": DatasetSettings.model_validate({**REMOTE, "fetching": {"store": tmp_path / "own", "store_days": 90}}),
    }))  # fmt: skip
    kind = FetchedFiles(settings)
    found = await kind.survey(now)
    assert (found.count, found.size, found.due, found.days) == (3, 27, 1, 90)
    assert round(found.oldest or 0) == round(now - 50 * DAY)
    assert found.following is not None and found.following > now
    assert await kind.remove(now) == 0


async def test_host_without_a_pacs_has_none(tmp_path: Path) -> None:
    settings = cast(Any, SimpleNamespace(state=tmp_path, datasets={}))
    assert (await FetchedFiles(settings).survey(time.time())).count == 0

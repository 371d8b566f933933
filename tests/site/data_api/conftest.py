"""A reference Data API that serves two folders, in this process."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.site.data.dicom_files import image, put, segmentation, uid

from fedproc.site.data_api.daemon import make_server
from fedproc.site.data_api.service import DataService
from fedproc.site.data_api.settings import DataApiSettings

PREFIX = "http://x/data/v1"


def images(folder: Path, persons: int = 12) -> Path:
    """Half of the persons are women; one has a segmentation; a table stands beside them."""
    for number in range(persons):
        person = f"P{number:02}"
        ids = {"PatientID": person, "PatientName": person, "StudyInstanceUID": uid(f"study {person}"),
               "PatientSex": "MF"[number % 2]}  # fmt: skip
        series = {"SeriesInstanceUID": uid(person), "SOPInstanceUID": uid(f"{person} 0")}
        put(folder / person / "a slice", image(**ids, **series))
        if number == 1:
            put(folder / person / "seg", segmentation(uid(person), **ids))
    (folder / "table.csv").write_text("age\n40\n")
    (folder / "dataset.json").write_text(
        '{"version": "7", "description": "Chests", "title": "Chests of 2024", "creators": ["A. Roe"], '
        '"tables": {"cohort": "table.csv"}, '
        '"columns": [{"name": "age", "type": "integer"}]}'
    )
    return folder


@asynccontextmanager
async def served(state: Path, **settings: Any) -> AsyncIterator[Path]:
    """Its socket."""
    os.makedirs(state, exist_ok=True)  # noqa: PTH103
    given = {"state": state / "s", "socket": state / "api.sock", "floor": 5, **settings}
    loaded = DataApiSettings.model_validate(given)
    service = DataService(loaded)
    server = make_server(loaded, service)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield state / "api.sock"
    finally:
        await asyncio.to_thread(server.shutdown)
        server.server_close()


def client(socket: Path, token: str | None = None) -> httpx.AsyncClient:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=str(socket)), headers=headers, timeout=20)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return images(tmp_path / "images")


@pytest.fixture
async def socket(tmp_path: Path, folder: Path) -> AsyncIterator[Path]:
    async with served(tmp_path / "api", datasets={"ct": {"path": folder}}) as found:
        yield found

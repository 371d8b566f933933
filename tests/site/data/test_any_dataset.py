"""A dataset's folder may hold anything: it is offered, or its site is told; the others are offered all the same."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.anything import BYTES, TREES, as_json, bent, plant
from tests.support.examples import examples

from fedproc.contract.wire.messages import DatasetUse, OfferedDataset
from fedproc.site.data.api import DatasetError
from fedproc.site.data.folder import FolderDataApi
from fedproc.site.dataset_settings import DatasetSettings

DESCRIBED = {"version": "2", "description": "x", "tables": [{"file": "a.csv", "columns": [{"name": "a"}]}]}


async def offered(folder: Path) -> tuple[OfferedDataset, ...]:
    good = folder.with_name(folder.name + "-good")
    good.mkdir()
    settings = {"any": DatasetSettings(path=folder), "good": DatasetSettings(path=good)}
    api = FolderDataApi(settings, folder.with_name(folder.name + "-indexes"))
    offers = await api.offers()
    for use in (DatasetUse(id="any"), DatasetUse(id="any", version="2")):
        try:
            await api.materialise(use, "j-1", lambda _: None)
        except DatasetError as error:
            error.message.encode()
            assert str(folder) not in error.message
    return offers


@pytest.mark.slow
@examples(80)
@given(tree=TREES, described=st.one_of(st.none(), BYTES, bent(DESCRIBED).map(as_json)))
def test_any_folder_is_offered_or_told(
    tmp_path_factory: pytest.TempPathFactory, tree: Any, described: bytes | None
) -> None:
    folder = tmp_path_factory.mktemp("dataset")
    plant(folder, [(name, "file" if kind == "sparse" else kind, *more) for name, kind, *more in tree])  # it is read
    if described is not None:
        (folder / "dataset.json").write_bytes(described)
    offers = asyncio.run(offered(folder))
    assert "good" in {offer.id for offer in offers}
    for offer in offers:
        offer.model_dump_json()


@pytest.mark.parametrize("kind", ["fifo", "socket", "device", "folder", "loop"])
def test_description_that_is_no_file_is_told(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "dataset"
    folder.mkdir()
    plant(folder, [(b"dataset.json", kind, b"", 0)])
    assert {offer.id for offer in asyncio.run(offered(folder))} == {"good"}

"""How a dataset is cited: the host's own settings go before what the dataset tells of itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fedproc.site.data.citing import cited
from fedproc.site.data.index import Known
from fedproc.site.data.remote import archive
from fedproc.site.dataset_settings import DatasetSettings

PACS: dict[str, Any] = {"source": "dicomweb", "url": "https://pacs.test", "query": {"Modality": "CT"}}


@pytest.mark.parametrize(
    ("own", "told", "found"),
    [
        ({}, (), {}),
        ({}, ("T", ["A. Roe"]), {"title": "T", "creators": ("A. Roe",)}),
        ({"title": "Own", "creators": ["B. Poe"]}, ("T", ["A. Roe"]), {"title": "Own", "creators": ("B. Poe",)}),
        ({}, (7, "A. Roe"), {}),
        ({}, ("x" * 300, ["A", 7, None]), {"title": "x" * 200, "creators": ("A",)}),
        ({}, (None, ["A"] * 60), {"creators": ("A",) * 50}),
    ],
)
def test_title_and_creators_are_the_hosts_or_else_the_datasets_own(own: Any, told: Any, found: Any) -> None:
    assert cited(DatasetSettings(path=Path("x"), **own), *told) == found


def test_dataset_of_a_pacs_is_cited_as_its_host_says() -> None:
    known = Known("sha256:1", "f", files=3, size=9, images=3, oldest=0.0, found={})
    entry = DatasetSettings.model_validate({**PACS, "title": "Chests of 2024", "creators": ["A. Roe"]})
    offer = archive._offer("ct", entry, known)
    assert (offer.title, offer.creators) == ("Chests of 2024", ("A. Roe",))
    assert archive._offer("ct", DatasetSettings.model_validate(PACS), known).title == ""

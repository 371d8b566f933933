"""What a host says of a dataset's columns: its description, in pages, and nothing of any row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from fedproc.contract.wire.datasets import MOST_VALUES, DatasetColumns, OfferedDataset
from fedproc.site.data.columns_offered import PageTurner, column_pages
from fedproc.site.data.folder import FolderDataApi
from fedproc.site.dataset_settings import DatasetSettings

OFFER = OfferedDataset(id="cohort", version="1")
COLUMNS = [
    {"name": "age", "type": "integer", "unit": "a", "missing": ["", "-99"]},
    {"name": "grade", "type": "category", "values": ["I", "II"], "spellings": {"I": ["one"]}},
]


def offered(folder: Path, **description: Any) -> tuple[DatasetColumns, ...]:
    (folder / "t.csv").write_text("age,grade\n61,secret\n")
    (folder / "dataset.json").write_text(json.dumps({"tables": {"cohort": "t.csv"}, **description}))
    return column_pages(OFFER, folder)


def test_columns_are_said_as_the_description_has_them(tmp_path: Path) -> None:
    [page] = offered(tmp_path, columns=COLUMNS)
    assert [column.model_dump(exclude_defaults=True) for column in page.columns] == [
        {"name": "age", "type": "integer", "unit": "a"},
        {"name": "grade", "type": "category", "values": ("I", "II")},
    ]
    assert "secret" not in page.model_dump_json()
    assert "-99" not in page.model_dump_json()


def test_site_may_hide_columns_or_have_none(tmp_path: Path) -> None:
    assert offered(tmp_path, columns=COLUMNS, show_columns=False) == ()
    with capture_logs() as logs:
        (tmp_path / "dataset.json").write_text('{"version": "3"}')
        assert column_pages(OFFER, tmp_path) == ()
        (tmp_path / "dataset.json").unlink()
        assert column_pages(OFFER, tmp_path) == ()
    assert logs == []


async def test_description_that_cannot_be_used_hides_no_dataset(tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_text('{"version": "3", "columns": [{"name": "x", "type": "blob"}]}')
    data = FolderDataApi({"cohort": DatasetSettings(path=tmp_path)}, tmp_path.with_name("indexes"), 0.0)
    with capture_logs() as logs:
        assert [(offer.id, offer.label) for offer in await data.offers()] == [("cohort", "3")]
    assert data.columns(10) == ()
    assert [line["dataset"] for line in logs if line["event"] == "dataset.not_described"] == ["cohort"]


@pytest.mark.slow
async def test_description_that_cannot_be_used_is_told_once_and_again_when_it_changes(tmp_path: Path) -> None:
    data = FolderDataApi({"cohort": DatasetSettings(path=tmp_path)}, tmp_path.with_name("indexes"), 0.0)
    with capture_logs() as logs:
        for kind in ("blob", "blob", "number", "other", "blob"):
            given = {"tables": {"t": "t.csv"}, "columns": [{"name": "x", "type": kind}]}
            (tmp_path / "dataset.json").write_text(json.dumps(given))
            for _ in range(2):
                await data.offers()
                assert data.columns(10) if kind == "number" else data.columns(10) == ()
    assert len([line for line in logs if line["event"] == "dataset.not_described"]) == 3


@pytest.mark.slow
def test_thousands_of_columns_are_cut_into_pages_that_a_message_holds(tmp_path: Path) -> None:
    many = [{"name": f"c{n}", "type": "number", "description": "ä" * 1200} for n in range(500)]
    many.append({"name": "c", "type": "category", "values": [f"v{n}" for n in range(MOST_VALUES + 5)]})
    pages = offered(tmp_path, columns=many)
    assert [column.name for page in pages for column in page.columns] == [entry["name"] for entry in many]
    assert {page.pages for page in pages} == {len(pages)}
    assert max(len(page.model_dump_json()) for page in pages) < 40_000
    assert (len(pages[-1].columns[-1].values), pages[-1].columns[-1].more_values) == (MOST_VALUES, 5)


def test_each_page_goes_once_and_then_seldom_until_there_is_news(tmp_path: Path) -> None:
    pages = offered(tmp_path, columns=[{"name": f"c{n}", "type": "number"} for n in range(250)])
    turner = PageTurner()
    assert [turner.next(pages) for _ in pages] == list(pages)
    later = [turner.next(pages) for _ in range(60)]
    assert [page for page in later if page] == [pages[0], pages[1]]
    assert turner.next(pages[:1]) == pages[0]
    assert turner.next(pages[:1]) is None
    turner.again()
    assert turner.next(pages[:1]) == pages[0]
    assert turner.next(()) is None

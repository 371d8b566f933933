"""Who the persons of a dataset are, as far as it tells."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.site.data.dicom_files import image, put, uid

from fedproc.contract.wire.messages import DatasetUse
from fedproc.contract.wire.selection import Selection
from fedproc.site.data.folder import FolderDataApi
from fedproc.site.data.persons import COLUMN, IMAGES, ROWS, Persons, keep, kept, of_tables
from fedproc.site.dataset_settings import DatasetSettings

JOB = "j-1"
COLUMNS = [{"name": "id", "type": "text", "header": "Fall Nr."}, {"name": "age", "type": "integer"}]


def table(folder: Path, text: str | bytes, **more: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "t.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    (folder / "dataset.json").write_text(json.dumps({"tables": {"cohort": "t.csv"}, "columns": COLUMNS, **more}))
    return folder


@pytest.mark.parametrize("person", ["id", "Fall Nr."])
def test_column_names_persons_by_its_name_or_its_header(tmp_path: Path, person: str) -> None:
    text = '\ufeffage;"Fall Nr."\n 40; A \n41;A\n42;"B;2"\n;\n'
    found = of_tables(table(tmp_path, text, person=person, format={"separator": ";"}))
    assert found == {COLUMN: {"A", "B;2"}}


def test_rows_are_persons_and_equal_rows_are_several(tmp_path: Path) -> None:
    (ways,) = of_tables(table(tmp_path / "a", "Fall Nr.,age\nA,40\nB,41\nA,40\n")).values()
    assert len(ways) == 3
    again = of_tables(table(tmp_path / "b", "Fall Nr.,age\r\nB, 41\r\nA,40\r\nA,40\r\n\r\n"))
    assert again == {ROWS: ways}, "order, ends of lines and blanks are none of a person"


@pytest.mark.parametrize(
    ("text", "more"),
    [
        ("Fall Nr.,age\nA,40\n,41\n", {"person": "id"}),
        ("Fall Nr.,age\nA,40\n", {"person": "nobody"}),
        ("Fall Nr.,age\nA,40\n", {"person": ["id"]}),
        (b"Fall Nr.,age\n\xff,40\n", {}),
        ("Fall Nr.,age\nA,40\n", {"tables": {"cohort": "../t.csv"}}),
        ("Fall Nr.,age\nA,40\n", {"tables": {"cohort": "absent.csv"}}),
        ("", {"person": "id"}),
        ("Fall Nr.,age\nA,40\n", {"columns": []}),
    ],
)
def test_whatever_cannot_be_told_is_left_out(tmp_path: Path, text: str | bytes, more: Any) -> None:
    assert of_tables(table(tmp_path, text, **more)) == {}


def test_folder_without_a_description_tells_nobody(tmp_path: Path) -> None:
    assert of_tables(tmp_path) == {}


@pytest.mark.slow
@given(raw=st.binary(max_size=200), person=st.none() | st.text(max_size=5))
def test_any_table_is_told_apart_or_not(tmp_path_factory: pytest.TempPathFactory, raw: bytes, person: Any) -> None:
    more = {} if person is None else {"person": person}
    found = of_tables(table(tmp_path_factory.mktemp("any"), raw, **more))
    assert set(found) <= {COLUMN, ROWS}


@pytest.mark.slow
@given(st.dictionaries(st.sampled_from([IMAGES, ROWS]), st.frozensets(st.text(max_size=5), max_size=5)))
def test_what_is_kept_is_found_again(tmp_path_factory: pytest.TempPathFactory, by: dict[str, frozenset[str]]) -> None:
    target = tmp_path_factory.mktemp("kept") / "j" / "d.persons.json"
    assert kept(target) is None
    keep(target, Persons(by))
    assert kept(target) == Persons(by)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    for person, age in (("P1", "040Y"), ("P2", "050Y"), ("P3", "060Y")):
        put(
            folder / person,
            image(
                PatientID=person, PatientName=person, StudyInstanceUID=uid(f"study {person}"), PatientAge=age,
                SeriesInstanceUID=uid(person), SOPInstanceUID=uid(f"{person} 0"),
            ),
        )  # fmt: skip
    return table(folder, "Fall Nr.,age\nP1,40\nP2,50\nP3,60\n", person="id")


def api(folder: Path) -> FolderDataApi:
    return FolderDataApi({"d": DatasetSettings(path=folder)}, folder.with_name("indexes"))


async def test_patients_of_a_selection_are_kept_when_it_is_frozen(images: Path) -> None:
    data = api(images)
    await data.freeze(DatasetUse(id="d"), Selection(age_from=45), JOB, 1)
    version = (await data.materialise(DatasetUse(id="d"), JOB, lambda _: None)).version
    (images / "P2").unlink()
    found = await api(images).persons("d", version, JOB)
    assert found == Persons({IMAGES: frozenset({"P2", "P3"})})


async def test_persons_of_a_whole_dataset_are_those_of_the_version_that_was_given(images: Path) -> None:
    data = api(images)
    version = (await data.materialise(DatasetUse(id="d"), JOB, lambda _: None)).version
    people = frozenset({"P1", "P2", "P3"})
    assert await data.persons("d", version, JOB) == Persons({IMAGES: people, COLUMN: people})
    (images / "P2").unlink()
    other = api(images)
    await other.materialise(DatasetUse(id="d"), "j-2", lambda _: None)
    assert await other.persons("d", version, JOB) == Persons({IMAGES: people, COLUMN: people}), "it is kept"
    assert await other.persons("d", version, "j-2") == Persons(), "it is of another version by now"
    await other.discard(JOB)
    assert await other.persons("d", version, JOB) == Persons()


async def test_images_that_do_not_say_whose_they_are_tell_nobody(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    for name in ("P1", ""):
        put(folder / f"{name}x", image(PatientID=name, PatientName=name, SeriesInstanceUID=uid(name or "none"),
            SOPInstanceUID=uid(f"{name} 0"), StudyInstanceUID=uid(f"study {name}")))  # fmt: skip
    (folder / "dataset.json").write_text("{}")
    data = api(folder)
    version = (await data.materialise(DatasetUse(id="d"), JOB, lambda _: None)).version
    assert (await data.persons("d", version, JOB)).by == {}

"""What whoever offers images is told of them, before anybody else uses them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.cli.conftest import Call
from tests.site.data.dicom_files import image, put, uid

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    made = tmp_path / "images"
    put(made / "1", image())
    put(made / "2", image(SOPInstanceUID=uid("2"), SeriesInstanceUID=uid("s2"), PatientID="P2", PatientName="P2"))
    return made


def test_images_are_counted_by_what_they_are(fedproc: Call, folder: Path) -> None:
    said = fedproc("data", "index", str(folder))
    assert said.code == 0
    assert "2 persons, 1 studies, 2 series" in said.out
    assert "CT 2" in said.out
    found = json.loads(fedproc("data", "index", str(folder), "--json").out)
    assert found["images"]["by"]["age"] == {"40-49": 2}
    assert found["version"].startswith("sha256:")
    assert sorted(path.name for path in folder.iterdir()) == ["1", "2"]


def test_images_without_tables_are_checked_without_a_description(fedproc: Call, folder: Path) -> None:
    assert fedproc("data", "check", str(folder)).code == 0


def test_each_file_is_told_with_what_is_wrong(fedproc: Call, folder: Path) -> None:
    put(folder / "3", image(SOPInstanceUID=uid("3"), Manufacturer=None, PatientName="Doe^Jane"))
    said = fedproc("data", "check", str(folder))
    assert said.code == 1
    assert "3: has no Manufacturer (missing_tags)" in said.err
    assert "patient_name" in said.err
    assert '"identifying_accepted": ["patient_name"]' in said.err
    assert "Jane" not in said.err + said.out
    assert "missing_tags" in fedproc("data", "index", str(folder)).out


def test_what_the_site_accepts_is_told_no_more(fedproc: Call, folder: Path) -> None:
    put(folder / "1", image(PatientBirthDate="19700101"))
    assert fedproc("data", "check", str(folder)).code == 1
    (folder / "dataset.json").write_text('{"identifying_accepted": ["birth_date"]}')
    assert fedproc("data", "check", str(folder)).code == 0


def test_folder_that_is_none_is_told(fedproc: Call, tmp_path: Path) -> None:
    said = fedproc("data", "index", str(tmp_path / "nothing"))
    assert (said.code, "is no folder" in said.err) == (1, True)

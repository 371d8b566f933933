"""The archives of data that ``make federation`` brings to its hospitals."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from fedproc.demo.imaging import FOLDER, PERSONS
from fedproc.demo.machines_data import write_all

pytestmark = pytest.mark.slow


def names(archive: Path) -> set[str]:
    with tarfile.open(archive) as packed:
        assert {(entry.uid, entry.gid) for entry in packed} == {(0, 0)}
        return {name for name in packed.getnames() if not name.endswith("/")}


def test_each_hospital_has_its_tables_and_its_images_in_archives_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "data.part").mkdir()
    (tmp_path / "data.part/left").write_text("by a run that was cut short")
    write_all(tmp_path / "data", None)
    assert not (tmp_path / "data.part").exists()
    assert not (tmp_path / "data/left").exists()
    for host, persons in PERSONS.items():
        tables, images = names(tmp_path / f"data/{host}.tar"), names(tmp_path / f"data/{host}-images.tar")
        assert {"breast-cohort/cohort.csv", "wisconsin/train.csv", "clinical/cohort.csv"} <= tables
        assert ("lung-cohort/cohort.csv" in tables) == (host == "FORTH")
        assert not any(name.startswith(FOLDER) for name in tables)
        assert sum(name.endswith("/image.dcm") for name in images) == persons


def test_tables_that_are_given_stand_in_place_of_the_synthetic_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fedproc.demo.imaging.write_images", lambda folder: None)
    for number in (1, 2, 3):
        (tmp_path / f"z3_{number}.csv").write_text("PM25,age,blood_pre\n1.1,4.2,96\n1.2,4.3,NA\n")
    write_all(tmp_path / "data", tmp_path)
    assert "clinical/z3_1.csv" in names(tmp_path / "data/UB.tar")
    assert "clinical/cohort.csv" not in names(tmp_path / "data/UB.tar")

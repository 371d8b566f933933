"""What is selected of a dataset is frozen, laid out without a copy, and nothing else reaches the job."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
import threading
import time
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from structlog.testing import capture_logs
from tests.site.data.dicom_files import image, put, segmentation, uid

from fedproc.common.errors import RefusedError
from fedproc.common.tasks import StopFlag, StoppedError
from fedproc.contract.wire.messages import DatasetUse
from fedproc.contract.wire.selection import Selection
from fedproc.site.data import frozen
from fedproc.site.data import layout as layout_module
from fedproc.site.data.api import DatasetError, Materialised
from fedproc.site.data.cohort import choose, files_of, read_cohort
from fedproc.site.data.folder import FolderDataApi
from fedproc.site.data.index import DatasetIndex
from fedproc.site.data.layout import Layout, below
from fedproc.site.dataset_settings import DatasetSettings

pytestmark = pytest.mark.slow


JOB = "j-1"
LONG_AGO = 1_600_000_000
PERSONS = {
    "P1": {"Modality": "CT", "PatientSex": "F", "PatientAge": "045Y", "Manufacturer": "ACME"},
    "P2": {"Modality": "MR", "PatientSex": "M", "PatientAge": "050Y", "BodyPartExamined": "BRAIN"},
    "P3": {"Modality": "CT", "PatientSex": "M", "PatientAge": None, "AcquisitionDate": "20210101"},
}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    folder = tmp_path / "store"
    for person, values in PERSONS.items():
        for number in range(2):
            ids = {"PatientID": person, "PatientName": person, "StudyInstanceUID": uid(f"study {person}"),
                   "SeriesInstanceUID": uid(person), "SOPInstanceUID": uid(f"{person} {number}")}  # fmt: skip
            put(folder / person / f"{number}", image(**ids, **values))
    put(
        folder / "P1" / "seg",
        segmentation(uid("P1"), PatientID="P1", PatientName="P1", StudyInstanceUID=uid("study P1")),
    )
    (folder / "table.csv").write_text("patient,event\nP1,1\n")
    (folder / "dataset.json").write_text("{}")
    for path in folder.rglob("*"):
        if path.is_file():
            os.utime(path, (LONG_AGO, LONG_AGO))
    return folder


def api(store: Path, **settings: Any) -> FolderDataApi:
    return FolderDataApi({"d": DatasetSettings(path=store, **settings)}, store.with_name("state") / "datasets", 0.0)


def quiet(_: str | None) -> None:
    """Nobody is told what a job waits for."""


async def given(data: FolderDataApi, floor: int = 1, **selection: Any) -> Materialised:
    await data.freeze(DatasetUse(id="d"), Selection(**selection), JOB, floor)
    return await data.materialise(DatasetUse(id="d"), JOB, quiet)


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def of(*persons: str) -> set[str]:
    return {"dataset.json", *(f"{person}/{number}" for person in persons for number in (0, 1))}


@pytest.mark.parametrize(
    ("selection", "files"),
    [
        ({"patient": ["P2"]}, of("P2")),
        ({"study": [uid("study P3")]}, of("P3")),
        ({"series": [uid("P1"), uid("P2")]}, of("P1", "P2") | {"P1/seg"}),
        ({"modality": ["ct"]}, of("P1", "P3") | {"P1/seg"}),
        ({"modality": ["CT"], "segmentations": False}, of("P1", "P3")),
        ({"modality": ["SEG"]}, {"dataset.json", "P1/seg"}),
        ({"modality": ["CT", "MR"], "sex": ["M"]}, of("P2", "P3")),
        ({"body_part": ["brain"]}, of("P2")),
        ({"manufacturer": ["acme"], "age_from": 40, "age_to": 45}, of("P1") | {"P1/seg"}),
        ({"age_from": 0}, of("P1", "P2") | {"P1/seg"}),
        ({"date_from": "2020-06-01"}, of("P3")),
        ({"date_to": "2020-06-01", "modality": ["MR"]}, of("P2")),
    ],
)
async def test_job_sees_what_is_selected_and_nothing_else(store: Path, selection: Any, files: set[str]) -> None:
    found = await given(api(store), **selection)
    assert names(found.path) == files
    for name in files:
        assert (found.path / name).stat().st_ino == (store / name).stat().st_ino


@pytest.mark.parametrize(
    "selection",
    [{}, {"segmentations": False}, {"age_from": 50, "age_to": 40}, {"color": ["red"]}, {"patient": [""]},
     {"modality": "CT"}, {"patient": ["P\x00"]}, {"age_from": float("nan")}],
)  # fmt: skip
def test_selection_that_selects_by_nothing_or_by_what_is_not_known_is_refused(selection: Any) -> None:
    with pytest.raises(ValidationError):
        Selection.model_validate(selection)


@pytest.mark.parametrize("value", ["' OR 1=1 --", "P1' UNION SELECT 1", "%", "_1"])
async def test_value_is_a_value_whatever_is_in_it(store: Path, value: str) -> None:
    with pytest.raises(RefusedError):
        await given(api(store), patient=[value])


async def test_cohort_is_frozen_when_its_job_is_accepted(store: Path) -> None:
    data = api(store)
    await data.freeze(DatasetUse(id="d"), Selection(modality=["CT"]), JOB, 1)
    put(store / "P4" / "0", image(PatientID="P4", PatientName="P4", SeriesInstanceUID=uid("P4")))
    (store / "P2" / "0").unlink()
    await data.freeze(DatasetUse(id="d", version="sha256:other"), Selection(modality=["CT"]), JOB, 1)
    found = await data.materialise(DatasetUse(id="d"), JOB, quiet)
    assert names(found.path) == of("P1", "P3") | {"P1/seg"}
    await data.confirm("d", found.version, JOB)


async def test_opt_out_of_somebody_selected_ends_a_job_that_was_not_prepared(store: Path) -> None:
    data = api(store)
    await data.freeze(DatasetUse(id="d"), Selection(modality=["CT"]), JOB, 1)
    (store / "P3" / "0").unlink()
    with pytest.raises(DatasetError) as raised:
        await data.materialise(DatasetUse(id="d"), JOB, quiet)
    assert raised.value.code == "data.version"


async def test_change_of_what_was_selected_is_noticed_at_the_jobs_end(store: Path) -> None:
    data = api(store)
    found = await given(data, modality=["CT"])
    (store / "P2" / "0").write_bytes(b"not selected")
    await data.confirm("d", found.version, JOB)
    os.utime(store / "P1" / "0")
    await data.confirm("d", found.version, JOB)
    with (store / "P1" / "0").open("r+b") as content:
        content.write(b"changed in its place, which a link shows")
    with pytest.raises(DatasetError) as raised:
        await data.confirm("d", found.version, JOB)
    assert raised.value.code == "data.changed"


async def test_version_of_a_cohort_is_of_its_files_alone(store: Path) -> None:
    data = api(store)
    found = await given(data, modality=["CT"])
    [offer] = await data.offers()
    assert found.version.startswith("sha256:")
    assert found.version != offer.version


@pytest.mark.parametrize(
    ("selection", "floor", "refused"),
    [
        ({"patient": ["P1", "P2"]}, 1, False),
        ({"patient": ["P1", "P2", "P3"]}, 3, False),
        ({"patient": ["P1", "P2"]}, 2, True),  # one is left out
        ({"patient": ["P1"]}, 2, True),
    ],
)
async def test_selection_of_few_or_of_all_but_few_is_refused(
    store: Path, selection: Any, floor: int, refused: bool
) -> None:
    if not refused:
        return await _is_given(store, selection, floor)
    with pytest.raises(RefusedError) as raised:
        await given(api(store), floor, **selection)
    assert raised.value.code == "policy.selection"
    with pytest.raises(RefusedError):  # not by asking a second time, either
        await given(api(store), floor, **selection)


async def test_nobody_and_few_persons_are_refused_alike_so_that_none_is_found_out(store: Path) -> None:
    texts = set()
    for persons in (["nobody"], ["P1"], ["P1", "P2"]):  # the last leaves one out
        with pytest.raises(RefusedError) as raised:
            await given(api(store), 2, patient=persons)
        texts.add((raised.value.code, raised.value.message))
        await api(store).discard(JOB)
    assert len(texts) == 1
    with pytest.raises(RefusedError):
        await given(api(store), 0, patient=["nobody"])


async def test_series_without_patient_may_all_be_one_persons(store: Path) -> None:
    for number in range(5):
        put(store / f"unknown{number}", image(PatientID=None, PatientName=None, SeriesInstanceUID=uid(f"{number}"),
                                              Modality="XA", SOPInstanceUID=uid(f"unknown {number}")))  # fmt: skip
    data = api(store)
    with pytest.raises(RefusedError):
        await given(data, 2, modality=["XA"])
    with pytest.raises(RefusedError):  # one is left out, who has no name
        await given(data, 2, patient=["P1", "P2", "P3"])
    images = data._indexer.images("d")
    assert images is not None
    assert images.persons == 4
    assert images.by["modality"]["XA"] == 1


async def test_cohort_is_not_frozen_from_an_index_that_a_pass_is_changing(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, seen = api(store), list[bool]()
    real = data._frozen.freeze

    async def freeze(*arguments: Any) -> Any:
        seen.append(data._indexer._locks["d"].locked())
        return await real(*arguments)

    monkeypatch.setattr(data._frozen, "freeze", freeze)
    await given(data, modality=["CT"])
    assert seen == [True]


async def _is_given(store: Path, selection: Any, floor: int) -> None:
    assert names((await given(api(store), floor, **selection)).path)


# -- how it is laid out ------------------------------------------------------------------------------


async def test_nothing_is_left_behind(store: Path, tmp_path: Path) -> None:
    links = tmp_path / "links"
    data = api(store, links=links)
    found = await given(data, modality=["CT"])
    assert found.path == links / JOB / "d"
    await data.discard(JOB)
    await data.discard(JOB)
    assert {name for name in names(tmp_path) if not name.startswith(("store/", "state/datasets/d.sqlite"))} == set()
    assert (store / "P1" / "0").exists()


async def test_what_a_cancelled_job_was_being_given_is_not_made_after_it_was_removed(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cohort names patients' files."""
    data, begun, goes_on = api(store), threading.Event(), threading.Event()

    def slow(*arguments: Any) -> Any:
        begun.set()
        assert goes_on.wait(20)
        return choose(*arguments)

    monkeypatch.setattr(frozen, "choose", slow)
    job = asyncio.create_task(given(data, modality=["CT"]))
    await asyncio.to_thread(begun.wait, 20)
    job.cancel()
    done, _ = await asyncio.wait({job}, timeout=0.2)
    assert not done, "its thread still works, and what it makes would be removed too early"
    goes_on.set()
    await asyncio.wait({job}, timeout=20)
    assert job.cancelled()
    assert not [name for name in names(tmp_path) if JOB in name]


async def test_other_users_of_the_machine_cannot_pass_into_what_is_laid_out(store: Path) -> None:
    found = await given(api(store), modality=["CT"])
    assert stat.S_IMODE(found.path.parent.stat().st_mode) == 0o700


async def test_what_others_may_write_is_copied(store: Path) -> None:
    (store / "P1" / "0").chmod(0o666)
    with capture_logs() as logs:
        found = await given(api(store), modality=["CT"])
    copied = found.path / "P1" / "0"
    assert copied.stat().st_ino != (store / "P1" / "0").stat().st_ino
    assert copied.read_bytes() == (store / "P1" / "0").read_bytes()
    assert [line["dataset"] for line in logs if line["event"] == "dataset.copied"] in ([], ["d"])


async def test_copy_is_the_last_resort_and_said(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_: Any, **__: Any) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(layout_module.os, "link", refuses)
    monkeypatch.setattr(layout_module, "_cloned", lambda *_: False)
    monkeypatch.setattr(layout_module, "_PROGRESS", 2)
    said: list[str | None] = []
    data = api(store)
    await data.freeze(DatasetUse(id="d"), Selection(modality=["CT"]), JOB, 1)
    with capture_logs() as logs:
        found = await data.materialise(DatasetUse(id="d"), JOB, said.append)
    assert names(found.path) == of("P1", "P3") | {"P1/seg"}
    assert "materialising 2/6 files by copies" in said
    assert said[-1] is None
    assert [line["event"] for line in logs] == ["dataset.copied"]
    await data.confirm("d", found.version, JOB)
    (found.path / "P1" / "0").chmod(0o600)
    (found.path / "P1" / "0").write_bytes(b"other")
    with pytest.raises(DatasetError):
        await data.confirm("d", found.version, JOB)


def test_layout_that_was_cut_goes_on(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = DatasetIndex(tmp_path / "i.sqlite")
    index.update(store, StopFlag())
    with index.readonly() as db:
        choose(db, "d", "v", Selection(modality=["CT"]), tmp_path / "cohort", StopFlag())
    flag = StopFlag()
    monkeypatch.setattr(layout_module, "_PROGRESS", 2)
    with pytest.raises(StoppedError):
        Layout(below(store), tmp_path / "cohort", tmp_path / "seen").make(lambda *_: flag.set(), flag)
    assert len(names(tmp_path / "seen")) == 2
    Layout(below(store), tmp_path / "cohort", tmp_path / "seen").make(lambda *_: None, StopFlag())
    assert names(tmp_path / "seen") == of("P1", "P3") | {"P1/seg"}


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EROFS, errno.EPERM])
async def test_names_of_any_length_are_copied_where_no_link_can_be(
    store: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(layout_module.os, "link", refuse)
    name = "n" * 255
    (store / "P2" / "0").rename(store / "P2" / name)
    found = await given(api(store), patient=["P2"])
    assert names(found.path) == {"dataset.json", f"P2/{name}", "P2/1"}


def test_names_that_are_no_utf8_are_laid_out(tmp_path: Path) -> None:
    store, index = tmp_path / "store", DatasetIndex(tmp_path / "i.sqlite")
    put(store / "1", image()).rename(os.fsdecode(os.fsencode(store) + b"/\xff\n"))
    index.update(store, StopFlag())
    with index.readonly() as db:
        choose(db, "d", "v", Selection(modality=["CT"]), tmp_path / "cohort", StopFlag())
    assert [file.path for file in files_of(tmp_path / "cohort")] == [b"\xff\n"]
    Layout(below(store), tmp_path / "cohort", tmp_path / "seen").make(lambda *_: None, StopFlag())
    assert names(tmp_path / "seen") == {os.fsdecode(b"\xff\n")}


def test_files_of_a_cohort_are_never_held_at_once(tmp_path: Path) -> None:
    index, rows = DatasetIndex(tmp_path / "i.sqlite"), 5000
    with index.opened() as db:
        places = [(f"{number:05}".encode(), rows) for number in range(rows)]
        columns = "path, kind, size, mtime, inode, sha256, read_at, pass"
        db.executemany(f"INSERT INTO files ({columns}) VALUES (?, 'file', 1, 0, ?, zeroblob(32), 0, 1)", places)
    with index.readonly() as read:
        tracemalloc.start()
        cohort = choose(read, "d", "v", None, tmp_path / "cohort", StopFlag())
        held = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert cohort.files == len([*files_of(tmp_path / "cohort")]) == rows
    assert held < 50 * rows


def test_cohort_that_is_half_written_is_none(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_cohort(tmp_path / "none")
    assert frozen.FrozenCohorts(tmp_path).known(JOB, "d") is None


def test_fifty_thousand_files_are_laid_out_in_two_seconds_of_processor_time(tmp_path: Path) -> None:
    """A tenth of them, times ten: a loaded machine takes longer, and uses no more processor time."""
    store, index, number = tmp_path / "store", DatasetIndex(tmp_path / "i.sqlite"), 5000
    for folder in range(number // 100):
        (store / f"{folder}").mkdir(parents=True)
        for name in range(100):
            path = store / f"{folder}" / f"{name}"
            path.write_bytes(b"x")
            os.utime(path, (LONG_AGO, LONG_AGO))
    index.update(store, StopFlag())
    import sqlite3

    with sqlite3.connect(index.path) as db:
        db.execute("UPDATE files SET series = '1', patient = 'P', modality = 'CT'")
        db.execute("INSERT INTO series VALUES ('1', '1', 'P', 'CT', 'X', 'A', 'F', 1, '2020-01-01', 5000, 5000)")
    with index.readonly() as read:
        choose(read, "d", "v", Selection(modality=["CT"]), tmp_path / "cohort", StopFlag())
    begun = time.process_time()
    Layout(below(store), tmp_path / "cohort", tmp_path / "seen").make(lambda *_: None, StopFlag())
    used = time.process_time() - begun
    assert len(names(tmp_path / "seen")) == number
    assert used * 50_000 / number < 3.0, used

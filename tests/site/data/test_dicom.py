"""Files are DICOM by their content; what is wrong with one, or with several together, is told by file."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import data_store
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.site.data.dicom_files import image, put, segmentation, uid, written
from tests.support.examples import examples

from fedproc.common.tasks import StopFlag
from fedproc.site.data import dicom
from fedproc.site.data.dicom import Instance, Reading, read
from fedproc.site.data.index import DatasetIndex

PYDICOMS = (Path(pydicom.__file__).parent / "data", Path(data_store.__file__).parent)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "dataset"
    made.mkdir()
    return made


@pytest.fixture
def index(tmp_path: Path) -> DatasetIndex:
    return DatasetIndex(tmp_path / "index.sqlite")


def reading(tmp_path: Path, content: bytes) -> Reading:
    path = tmp_path / "file"
    path.write_bytes(content)
    with path.open("rb") as opened:
        return read(opened, len(content))


def problems(folder: Path, index: DatasetIndex) -> dict[tuple[str, str], str]:
    index.update(folder, StopFlag())
    return {(path, code): text for path, code, text in index.problems()}


def test_image_is_described_whatever_its_name(tmp_path: Path) -> None:
    found = reading(tmp_path, written(image()))
    assert found == Reading(
        Instance("P1", uid("study"), uid("series"), uid("instance"), str(image().SOPClassUID), "CT", "CHEST", "ACME",
                 "F", 45.0, "2020-01-31")
    )  # fmt: skip


def test_segmentation_names_the_series_that_it_was_made_on(tmp_path: Path) -> None:
    instance = reading(tmp_path, written(segmentation(uid("series")))).instance
    assert instance is not None
    assert (instance.modality, instance.refers) == ("SEG", (uid("series"),))


@pytest.mark.parametrize("content", [b"", b"x", b"time,event\n1,0\n", bytes(1000), b"\x08\x00" * 100, b"{}" * 200])
def test_what_is_no_dicom_is_none(tmp_path: Path, content: bytes) -> None:
    assert reading(tmp_path, content) == Reading()


@pytest.mark.parametrize(("age", "years"), [("006M", 0.5), ("", None), ("45", None), ("000Y", 0.0), ("abc", None)])
def test_age_is_in_years(tmp_path: Path, age: str, years: float | None) -> None:
    with pydicom.config.disable_value_validation():
        instance = reading(tmp_path, written(image(PatientAge=age))).instance
    assert instance is not None
    assert instance.age == years


def codes(found: Reading) -> set[str]:
    return {code for code, _ in found.problems}


def test_file_without_preamble_is_read_and_told(tmp_path: Path) -> None:
    found = reading(tmp_path, written(image())[132:])
    assert codes(found) == {"no_preamble"}
    assert found.instance is not None


def test_data_set_alone_is_read_and_told(tmp_path: Path) -> None:
    content = written(image())
    found = reading(tmp_path, content[content.index(b"\x08\x00\x16\x00UI") :])
    assert codes(found) == {"no_preamble", "no_transfer_syntax"}
    assert found.instance is not None
    assert found.instance.patient == "P1"


@pytest.mark.parametrize("left", [1, 15])
def test_file_that_ends_within_its_pixels_is_told(tmp_path: Path, left: int) -> None:
    assert codes(reading(tmp_path, written(image())[:-left])) == {"truncated"}


def test_pixels_that_are_fewer_than_they_should_be_are_told(tmp_path: Path) -> None:
    found = reading(tmp_path, written(image(Rows=400)))
    assert found.problems == [("truncated", "has 16 bytes of pixels, and needs 1600")]


def test_file_that_ends_within_its_elements_is_told(tmp_path: Path) -> None:
    content = written(image())
    found = reading(tmp_path, content[: content.index(b"\x10\x00\x10\x00") + 3])
    assert "missing_tags" in codes(found)


def test_elements_that_are_written_otherwise_than_stated_are_told(tmp_path: Path) -> None:
    content = written(image()).replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2\0\0\0")
    found = reading(tmp_path, content)
    assert codes(found) == {"wrong_transfer_syntax"}


def test_what_must_be_there_is_named_where_it_is_missing(tmp_path: Path) -> None:
    found = reading(tmp_path, written(image(Manufacturer=None, BodyPartExamined="", AcquisitionDate="20209999")))
    assert found.problems == [("missing_tags", "has no BodyPartExamined, Manufacturer, AcquisitionDate")]


@pytest.mark.slow
def test_deflated_file_is_inflated_no_further_than_bearable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    meta = io.BytesIO()
    made = image()
    made.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    pydicom.dcmwrite(meta, made, enforce_file_format=True)
    assert codes(reading(tmp_path, meta.getvalue())) == set()
    monkeypatch.setattr(dicom, "_INFLATED", 1 << 20)
    content = meta.getvalue()
    end = 144 + int.from_bytes(content[140:144], "little")
    packed = zlib.compressobj(wbits=-15)
    assert codes(reading(tmp_path, content[:end] + packed.compress(bytes(64 << 20)) + packed.flush())) == {
        "unreadable_dicom"
    }
    made.file_meta.PrivateInformationCreatorUID = uid("creator")
    made.file_meta.PrivateInformation = bytes(8192)
    long = io.BytesIO()
    pydicom.dcmwrite(long, made, enforce_file_format=True)
    content = long.getvalue()
    end = 144 + int.from_bytes(content[140:144], "little")
    packed = zlib.compressobj(wbits=-15)
    assert codes(reading(tmp_path, content[:end] + packed.compress(bytes(64 << 20)) + packed.flush())) == {
        "unreadable_dicom"
    }


@pytest.mark.slow
def test_sequence_of_items_without_end_is_read_no_further_than_bearable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = written(image())
    place = made.index(b"\x10\x00\x10\x00PN")
    items = b"\xfe\xff\x00\xe0" + bytes(4)
    sequence = b"\x09\x00\x10\x10SQ\0\0\xff\xff\xff\xff" + items * 5000 + b"\xfe\xff\xdd\xe0" + bytes(4)
    content = made[:place] + sequence + made[place:]
    assert "unreadable_dicom" not in codes(reading(tmp_path, content))
    monkeypatch.setattr(dicom, "_MOST_READS", 2000)
    assert codes(reading(tmp_path, content)) == {"unreadable_dicom"}


def test_length_that_no_file_has_takes_no_memory(tmp_path: Path) -> None:
    import tracemalloc

    made = written(image())
    place = made.index(b"\x10\x00\x10\x00PN")
    content = made[: place + 4] + b"UT\0\0" + b"\xf0\xff\xff\xff" + made[place + 8 :]
    tracemalloc.start()
    reading(tmp_path, content)
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()


IDENTIFYING: list[tuple[dict[str, Any], set[str]]] = [
    ({}, set()),
    ({"PatientName": "Doe^Jane"}, {"patient_name"}),
    ({"PatientName": "Doe^Jane", "PatientIdentityRemoved": "YES"}, set()),
    ({"PatientName": "ANONYMOUS"}, set()),
    ({"PatientName": ""}, set()),
    ({"PatientBirthDate": "19700101"}, {"birth_date"}),
    ({"PatientBirthDate": ""}, set()),
    ({"OtherPatientIDs": "4711", "PatientAddress": "Main Street"}, {"contact"}),
    ({"ReferringPhysicianName": "Who^Dr"}, {"staff"}),
    ({"InstitutionName": "General Hospital"}, {"institution"}),
    ({"BurnedInAnnotation": "YES"}, {"burned_in"}),
    ({"BurnedInAnnotation": None}, set()),
    ({"BurnedInAnnotation": None, "Modality": "US"}, {"burned_in_unknown"}),
]


@pytest.mark.parametrize(("values", "expected"), IDENTIFYING, ids=lambda value: "-".join(value) or "none")
def test_what_may_tell_who_a_person_is_is_told_without_being_quoted(
    tmp_path: Path, values: dict[str, Any], expected: set[str]
) -> None:
    found = reading(tmp_path, written(image(**values)))
    assert codes(found) == expected
    assert not any(str(value) in text for _, text in found.problems for value in values.values() if value)


def test_private_elements_are_told(tmp_path: Path) -> None:
    made = image()
    made.private_block(0x0009, "ACME", create=True).add_new(0x01, "LO", "Jane Doe")
    assert codes(reading(tmp_path, written(made))) == {"private_tags"}


# -- several together --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "what"),
    [
        ({"PatientID": "P2"}, "patients"),
        ({"StudyInstanceUID": uid("2")}, "studies"),
        ({"Modality": "MR"}, "modalities"),
    ],
)
def test_series_of_several_is_told_for_each_of_its_files(
    folder: Path, index: DatasetIndex, values: dict[str, str], what: str
) -> None:
    put(folder / "1", image())
    put(folder / "2", image(SOPInstanceUID=uid("2"), PatientName="", **values))
    text = f"is in a series that has several {what}"
    assert problems(folder, index) == {("1", "mixed_series"): text, ("2", "mixed_series"): text}


def test_instance_that_is_there_twice_is_told(folder: Path, index: DatasetIndex) -> None:
    put(folder / "1", image())
    put(folder / "2" / "again", image())
    assert problems(folder, index) == {("2/again", "duplicate_uid"): "has the SOPInstanceUID of 1"}


def test_segmentation_whose_series_is_absent_is_told_until_it_is_there(folder: Path, index: DatasetIndex) -> None:
    put(folder / "seg", segmentation(uid("series")))
    assert list(problems(folder, index)) == [("seg", "series_absent")]
    put(folder / "image", image())
    assert problems(folder, index) == {}
    (folder / "image").unlink()
    assert list(problems(folder, index)) == [("seg", "series_absent")]


# -- whatever the bytes are --------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("root", PYDICOMS, ids=["pydicom", "pydicom-data"])
def test_every_file_of_pydicoms_own_tests_goes_through(root: Path, index: DatasetIndex) -> None:
    known = index.update(root, StopFlag())
    assert known.images > 50
    assert "unreadable_dicom" not in known.found


def _samples() -> Iterator[bytes]:
    yield (PYDICOMS[1] / "data" / "liver.dcm").read_bytes()[:20_000]
    for name in ("CT_small.dcm", "rtplan.dcm", "image_dfl.dcm", "JPEG2000.dcm", "MR_small_bigendian.dcm"):
        yield (PYDICOMS[0] / "test_files" / name).read_bytes()[:20_000]


@pytest.mark.slow
@examples(150)
@given(
    content=st.sampled_from(list(_samples())),
    places=st.lists(st.tuples(st.integers(0, 4000), st.binary(min_size=1, max_size=8)), max_size=6),
    length=st.integers(0, 20_000),
)
def test_any_bytes_in_a_file_end_nothing(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, places: list[tuple[int, bytes]], length: int
) -> None:
    bent = bytearray(content[:length])
    for place, piece in places:
        bent[place : place + len(piece)] = piece
    folder = tmp_path_factory.mktemp("any")
    (folder / "file").write_bytes(bent)
    index = DatasetIndex(folder.with_name(folder.name + ".sqlite"))
    known = index.update(folder, StopFlag())
    for path, _, text in index.problems():
        (path + text).encode()
    assert known.files == 1

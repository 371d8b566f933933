"""``dicom-quality``: faults put into images are found, counted over persons, and told without any number of a few."""

from __future__ import annotations

import io
import json
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from tests.site.data.dicom_files import image, put, segmentation, uid, written
from tests.support.tool_programs import ToolProgram

from fedproc.catalog.folder import load_tool
from fedproc.demo.imaging import PERSONS
from fedproc.site.policy.engine.engine import inspect
from fedproc.site.policy.engine.known import Known
from fedproc.site.policy.engine.strict_json import scalars

pytestmark = pytest.mark.process

Write = Callable[[str, Any], Path]
Slices = list[pydicom.FileDataset]
PIXELS = np.arange(16, dtype=np.uint8).reshape(4, 4) * 17


def ct(person: str, series: str = "", **values: Any) -> Slices:
    """A series of four slices of one de-identified person; ``values`` are of each slice."""
    made = []
    for number in range(4):
        name = f"{person}{series}"
        ids = {
            "PatientID": person, "PatientName": person, "StudyInstanceUID": uid(f"{person} study"),
            "SeriesInstanceUID": uid(name), "SOPInstanceUID": uid(f"{name} {number}"), "PatientIdentityRemoved": "YES",
            "ImagePositionPatient": [0, 0, 2.5 * number], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
            "PixelSpacing": [1, 1], "PixelData": PIXELS.tobytes(), "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        }  # fmt: skip
        made.append(image(**{**ids, **values}))
    return made


def laid(folder: Path, slices: Slices, name: str) -> None:
    for number, one in enumerate(slices):
        put(folder / name / str(number), one)


def changed(slices: Slices, place: int, **values: Any) -> Slices:
    for word, value in values.items():
        setattr(slices[place], word, value)
    slices[place].file_meta.MediaStorageSOPInstanceUID = slices[place].SOPInstanceUID
    return slices


def without_element(slices: Slices, word: str) -> Slices:
    del slices[2][word]
    return slices


def compressed(slices: Slices) -> Slices:
    """Said to be JPEG 2000, which nothing here decodes; the bytes are none."""
    for one in slices:
        one.file_meta.TransferSyntaxUID = pydicom.uid.JPEG2000
        one.PixelData = pydicom.encaps.encapsulate([b"\xff\x4f\xff\x51" + bytes(60)])
        one["PixelData"].VR = "OB"
    return slices


def private(slices: Slices) -> Slices:
    slices[0].add_new(0x00110010, "LO", "A MAKER")
    slices[0].add_new(0x00111001, "LO", "whatever")
    return slices


FAULTS: dict[str, Callable[[str], Slices]] = {
    "missing_tags": lambda who: without_element(ct(who), "PixelSpacing"),
    "missing_description": lambda who: without_element(ct(who), "BodyPartExamined"),
    "mixed_series": lambda who: changed(ct(who), 1, StudyInstanceUID=uid("another")),
    "duplicate_uid": lambda who: changed(ct(who), 1, SOPInstanceUID=uid(f"{who} 0")),
    "duplicate_position": lambda who: [*ct(who), changed(ct(who), 1, SOPInstanceUID=uid(f"{who} again"))[1]],
    "missing_slices": lambda who: changed(ct(who), 3, ImagePositionPatient=[0, 0, 10.0]),
    "irregular_spacing": lambda who: changed(ct(who), 3, ImagePositionPatient=[0, 0, 7.9]),
    "mixed_orientation": lambda who: changed(ct(who), 3, ImageOrientationPatient=[1, 0, 0, 0, 0, -1]),
    "mixed_geometry": lambda who: changed(ct(who), 3, PixelSpacing=[1, 1.2]),
    "truncated": lambda who: changed(ct(who), 1, PixelData=bytes(10)),
    "no_decoder": lambda who: compressed(ct(who)),
    "bad_pixels": lambda who: ct(who, BitsAllocated=24),
    "pixel_range": lambda who: ct(who, BitsStored=4, HighBit=3),
    "lossy": lambda who: ct(who, LossyImageCompression="01"),
    "identity_not_removed": lambda who: ct(who, PatientIdentityRemoved=None),
    "identifying": lambda who: ct(who, InstitutionName="A hospital"),
    "private_tags": lambda who: private(ct(who)),
    "burned_in": lambda who: ct(who, BurnedInAnnotation="YES"),
    "segmentation_without_series": lambda who: [
        segmentation(uid("away"), PatientID=who, StudyInstanceUID=uid(f"{who} study"), PatientIdentityRemoved="YES",
                     SOPInstanceUID=uid(who), SeriesInstanceUID=uid(who))
    ],
}  # fmt: skip


SOUND_OTHERWISE = {"missing_tags", "missing_description", "missing_slices", "irregular_spacing", "mixed_geometry",
                   "duplicate_position", "lossy", "private_tags", "identity_not_removed", "burned_in"}  # fmt: skip
"""faults that bring no other with them"""


def laid_of(folder: Path, make: Callable[[str], Slices], name: str, persons: int) -> None:
    for number in range(persons):
        laid(folder, make(f"{name}{number}"), f"{name}{number}")


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 persons' series without a fault."""
    folder = tmp_path_factory.mktemp("sound")
    laid_of(folder, ct, "S", 24)
    return folder


def local(quality: ToolProgram, datasets: Path, output: Path, parameters: Path, host: str = "UB") -> Any:
    output.mkdir(parents=True, exist_ok=True)
    given = ("--datasets", datasets, "--host", host, "--parameters", parameters, "--output", output)
    return quality.run("local", *given)


def answer(quality: ToolProgram, tmp_path: Path, write_json: Write, **parameters: Any) -> dict[str, Any]:
    ended = local(quality, tmp_path / "data", tmp_path / "out", write_json("parameters.json", parameters))
    assert ended.returncode == 0, ended.stderr
    return dict(json.loads((tmp_path / "out" / "quality.json").read_text()))


def combined(quality: ToolProgram, sites: Path, output: Path, parameters: Path) -> dict[str, Any]:
    output.mkdir(exist_ok=True)
    ended = quality.run("combine", "--sites", sites, "--parameters", parameters, "--output", output)
    assert ended.returncode == 0, ended.stderr
    return dict(json.loads((output / "result.json").read_text()))


def against(quality: ToolProgram, task: str, name: str, told: Any, folder: Path, floor: int = 10) -> dict[str, str]:
    """What the rules of a host have against a document in the place of this output."""
    (found,) = [one for one in load_tool(quality.folder).tool.tasks if one.name == task]
    folder = folder / task
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(told))
    known = {"order": lambda: ["UB", "BSC", "FORTH", "EUCAIM"], "inputs": lambda: scalars(told)}
    return {each.rule.id: str(each.result) for each in inspect(found.outputs[0], folder, floor, Known(known))}


def checks(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {check["check"]: check for group in found["groups"] for check in group["checks"]}


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_is_found_counted_and_lets_itself_be_released(
    quality: ToolProgram, sound: Path, tmp_path: Path, write_json: Write, fault: str
) -> None:
    laid_of(tmp_path / "data" / "d", FAULTS[fault], "F", 12)
    (tmp_path / "data" / "sound").symlink_to(sound)
    found = answer(quality, tmp_path, write_json)
    told = checks(found)[fault]
    if fault in SOUND_OTHERWISE:
        assert told == {"check": fault, "extent": "some", "failed": 12, "clean": 24, "series": 12}
        assert set(checks(found)) == {fault}
    else:
        assert (told["extent"], told.get("failed", 12)) in (("some", 12), ("all", 12))
    assert "refuse" not in against(quality, "local", "quality.json", found, tmp_path / "sealed").values()


def test_images_without_fault_fail_no_check(quality: ToolProgram, tmp_path: Path, write_json: Write) -> None:
    laid_of(tmp_path / "data" / "d", ct, "S", 10)
    found = answer(quality, tmp_path, write_json)
    assert [group["checks"] for group in found["groups"]] == [[]]
    assert found["transfer_syntax"] == [{"value": "explicit", "persons": 10, "series": 10}]
    assert found["range_used"] == [{"value": "50% or more", "persons": 10, "series": 10}]
    assert against(quality, "local", "quality.json", found, tmp_path / "sealed") == {}


@pytest.mark.parametrize(("faulty", "sound", "extent"), [(3, 20, "few"), (20, 3, "most"), (12, 0, "all")])
def test_fault_of_few_or_of_nearly_all_is_told_as_a_class_alone(
    quality: ToolProgram, tmp_path: Path, write_json: Write, faulty: int, sound: int, extent: str
) -> None:
    laid_of(tmp_path / "data" / "d", FAULTS["missing_slices"], "F", faulty)
    laid_of(tmp_path / "data" / "d", ct, "S", sound)
    found = answer(quality, tmp_path, write_json)
    assert found["groups"][0]["checks"] == [{"check": "missing_slices", "extent": extent}]
    assert against(quality, "local", "quality.json", found, tmp_path / "sealed") == {}


def test_no_number_looks_like_a_part_of_which_few_are_left(
    quality: ToolProgram, tmp_path: Path, write_json: Write
) -> None:
    """Eleven and sixteen of 30: a host's rules would take the three for a rest, and refuse the whole answer."""
    laid_of(tmp_path / "data" / "d", FAULTS["missing_slices"], "F", 11)
    laid_of(tmp_path / "data" / "d", FAULTS["lossy"], "L", 16)
    laid_of(tmp_path / "data" / "d", ct, "S", 3)
    found = answer(quality, tmp_path, write_json)
    assert checks(found)["missing_slices"] == {"check": "missing_slices", "extent": "some"}
    assert checks(found)["lossy"] == {"check": "lossy", "extent": "some", "failed": 16, "clean": 14, "series": 16}
    assert against(quality, "local", "quality.json", found, tmp_path / "sealed") == {}


def test_together_is_what_all_images_in_one_place_give(quality: ToolProgram, tmp_path: Path, write_json: Write) -> None:
    parameters = write_json("parameters.json", {})
    shares = {"UB": (12, 15), "BSC": (0, 20), "FORTH": (11, 14)}
    for host, (faulty, sound) in shares.items():
        laid_of(tmp_path / host / "d", FAULTS["missing_slices"], f"{host}F", faulty)
        laid_of(tmp_path / host / "d", ct, f"{host}S", sound)
        shutil.copytree(tmp_path / host / "d", tmp_path / "data" / host)
        ended = local(quality, tmp_path / host, tmp_path / "sites" / host, parameters, host)
        assert ended.returncode == 0, ended.stderr
    pooled = answer(quality, tmp_path, write_json)
    result = combined(quality, tmp_path / "sites", tmp_path / "result", parameters)
    together = result["together"]
    for table in ("persons", "studies", "series", "transfer_syntax", "bit_depth", "range_used"):
        assert together[table] == pooled[table]
    (group,) = together["groups"]
    (check,) = group["checks"]
    told = {"check": "missing_slices", "extent": "some", "failed": 23, "clean": 49, "series": 23}
    assert check == {**told, "hosts_left_out": []}
    assert [{**group, "checks": [told]}] == pooled["groups"]
    assert against(quality, "combine", "result.json", result, tmp_path / "sealed") == {}


def test_host_that_tells_no_number_is_named(quality: ToolProgram, tmp_path: Path, write_json: Write) -> None:
    parameters = write_json("parameters.json", {})
    for host, faulty in {"UB": 12, "BSC": 2}.items():
        laid_of(tmp_path / host / "d", FAULTS["missing_slices"], f"{host}F", faulty)
        laid_of(tmp_path / host / "d", ct, f"{host}S", 15)
        assert local(quality, tmp_path / host, tmp_path / "sites" / host, parameters, host).returncode == 0
    result = combined(quality, tmp_path / "sites", tmp_path / "result", parameters)
    told = {"check": "missing_slices", "extent": "some", "failed": 12, "clean": 15, "series": 12}
    assert result["together"]["groups"][0]["checks"] == [{**told, "hosts_left_out": ["BSC"]}]
    assert against(quality, "combine", "result.json", result, tmp_path / "sealed") == {}


def test_demos_images_pass_at_each_host_and_together(
    quality: ToolProgram, data: Path, tmp_path: Path, write_json: Write
) -> None:
    parameters = write_json("parameters.json", {})
    for host, count in PERSONS.items():
        ended = local(quality, data / host / "synthetic-lesions", tmp_path / "sites" / host, parameters, host)
        assert ended.returncode == 0, ended.stderr
        told = json.loads((tmp_path / "sites" / host / "quality.json").read_text())
        assert (told["persons"], told["series"]) == (count, 2 * count)
        assert against(quality, "local", "quality.json", told, tmp_path / "sealed") == {}
    result = combined(quality, tmp_path / "sites", tmp_path / "result", parameters)
    assert result["together"]["persons"] == sum(PERSONS.values())
    assert all(group["checks"] == [] for group in result["together"]["groups"])
    assert against(quality, "combine", "result.json", result, tmp_path / "sealed") == {}


REAL = ("CT_small.dcm", "MR_small.dcm", "rtdose.dcm", "rtplan.dcm", "MR_truncated.dcm", "JPEG2000.dcm", "SC_rgb.dcm",
        "image_dfl.dcm", "liver.dcm", "693_UNCI.dcm", "JPEG-LL.dcm", "MR_small_RLE.dcm", "no_meta.dcm",
        "ExplVR_BigEnd.dcm",
        "DICOMDIR", "reportsi.dcm", "color3d_jpeg_baseline.dcm", "badVR.dcm", "priv_SQ.dcm", "nested_priv_SQ.dcm",
        "UN_sequence.dcm", "meta_missing_tsyntax.dcm", "empty_charset_LEI.dcm", "zipMR.gz")  # fmt: skip
"""of pydicom and pydicom-data: real files, good and bad"""


def test_real_files_of_all_kinds_are_looked_at_and_none_ends_the_tool(
    quality: ToolProgram, tmp_path: Path, write_json: Write
) -> None:
    folder = tmp_path / "data" / "d"
    folder.mkdir(parents=True)
    there = [path for name in REAL if (path := get_testdata_file(name, download=False))]
    assert len(there) > 15
    for path in there:
        shutil.copy(str(path), folder)
    laid_of(folder, ct, "S", 12)
    found = answer(quality, tmp_path, write_json, pixels_of_series=5)
    assert 20 <= found["persons"] <= 40
    assert {group["modality"] for group in found["groups"]} == {"CT", "(others)"}
    assert {"missing_tags", "identity_not_removed"} <= checks(found).keys()
    assert "refuse" not in against(quality, "local", "quality.json", found, tmp_path / "sealed").values()


def deflated_bomb() -> bytes:
    """300 MiB of zeros in an element, in 300 kB."""
    plain = written(image())
    head = pydicom.dcmread(io.BytesIO(plain))
    head.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    whole = io.BytesIO()
    pydicom.dcmwrite(whole, head, enforce_file_format=True)
    at = whole.getvalue().index(b"\x02\x00\x10\x00UI")
    length = int.from_bytes(whole.getvalue()[at + 6 : at + 8], "little")
    meta = whole.getvalue()[: 132 + 12 + int.from_bytes(whole.getvalue()[140:144], "little")]
    assert at + 8 + length <= len(meta)
    press = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    pieces = [press.compress(b"\x09\x00\x10\x00UN\x00\x00" + (300 << 20).to_bytes(4, "little"))]
    pieces += [press.compress(bytes(1 << 20)) for _ in range(300)]
    return meta + b"".join(pieces) + press.flush()


def hostile() -> dict[str, bytes]:
    whole = written(image(PatientID="H", PatientName="H", PatientIdentityRemoved="YES"))
    huge = written(image(PatientID="H", PatientName="H", Rows=65535, Columns=65535, NumberOfFrames=2**31 - 1))
    deep = b"\x08\x00\x15\x11SQ\x00\x00\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff" * 3000
    lie = b"\x10\x00\x10\x00PN\xff\xff" + b"A"
    return {
        "empty": b"", "cut": whole[: len(whole) // 2], "cut in the head": whole[:140], "zeros": bytes(5000),
        "zeros behind": bytes(128) + b"DICM" + bytes(5000), "huge": huge, "deep": whole[:-28] + deep,
        "a length beyond the end": bytes(128) + b"DICM" + lie, "ones": bytes(128) + b"DICM" + b"\xff" * 4000,
        "bomb": deflated_bomb(),
    }  # fmt: skip


def test_hostile_bytes_do_not_end_the_tool_nor_fill_its_memory(
    quality: ToolProgram, tmp_path: Path, write_json: Write
) -> None:
    folder = tmp_path / "data" / "d"
    folder.mkdir(parents=True)
    laid_of(folder, ct, "S", 12)
    for name, content in hostile().items():
        (folder / name).write_bytes(content)
    parameters = write_json("parameters.json", {})
    (tmp_path / "out").mkdir()
    given = ("--datasets", tmp_path / "data", "--host", "UB", "--parameters", parameters, "--output", tmp_path / "out")
    limit = ["/bin/sh", "-c", 'ulimit -v 2000000; exec "$@"', "sh"]
    bound = ToolProgram(quality.folder, (*limit, *quality.python), quality.environment)
    ended = bound.run("local", *given)
    assert (ended.returncode, ended.stderr) == (0, "")
    told = json.loads((tmp_path / "out" / "quality.json").read_text())
    assert told["unreadable_files"] == "1 to 9"
    assert told["other_files"] == "1 to 9"
    assert told["persons"] in (12, 13, 14)


def test_site_of_few_persons_says_nothing(quality: ToolProgram, tmp_path: Path, write_json: Write) -> None:
    laid_of(tmp_path / "data" / "d", ct, "S", 9)
    ended = local(quality, tmp_path / "data", tmp_path / "out", write_json("parameters.json", {}))
    assert ended.returncode == 2
    assert "fewer than 10 persons" in ended.stderr
    assert list((tmp_path / "out").iterdir()) == []


def test_site_with_a_higher_floor_refuses_the_tools_smaller_cells(
    quality: ToolProgram, tmp_path: Path, write_json: Write
) -> None:
    laid_of(tmp_path / "data" / "d", ct, "S", 12)
    found = answer(quality, tmp_path, write_json)
    refused = against(quality, "local", "quality.json", found, tmp_path / "sealed", floor=15)
    assert refused["persons.floor"] == "refuse"


def example(quality: ToolProgram) -> dict[str, Any]:
    path = quality.folder / "test/example_output/local/quality.json"
    return dict(json.loads(path.read_text()))


@pytest.mark.parametrize(
    "edit",
    [
        lambda a: a["groups"][0].update(manufacturer="Maria Ortiz, 1951, 12 May"),
        lambda a: a["groups"][0].update(patients=["P1", "P2"]),
        lambda a: a["groups"][0]["checks"].append({"check": "lossy", "extent": "some", "failed": 1, "clean": 23,
                                                   "series": 1}),
        lambda a: a["groups"][0]["checks"].append({"check": "P0017", "extent": "few"}),
        lambda a: a.update(unreadable_files="sub-01/ct/0001.dcm"),
        lambda a: a["bit_depth"].append({"value": "1.2.840.113619.2.55", "persons": 12, "series": 12}),
        lambda a: a.update(series=[[1, 2.5], [2, 2.5]]),
    ],
)  # fmt: skip
def test_what_a_hostile_variant_writes_in_the_place_of_counts_is_refused(
    quality: ToolProgram, tmp_path: Path, edit: Callable[[dict[str, Any]], Any]
) -> None:
    told = example(quality)
    assert "refuse" not in against(quality, "local", "quality.json", told, tmp_path / "sealed").values()
    edit(told)
    assert "refuse" in against(quality, "local", "quality.json", told, tmp_path / "sealed").values()


def test_example_is_what_the_tool_gives(quality: ToolProgram, tmp_path: Path) -> None:
    given = quality.folder / "test/example_input"
    ended = local(quality, given / "local/input/images", tmp_path / "out", given / "local/parameters.json")
    assert ended.returncode == 0, ended.stderr
    assert json.loads((tmp_path / "out" / "quality.json").read_text()) == example(quality)
    result = combined(quality, given / "combine/input/sites", tmp_path / "all", given / "combine/parameters.json")
    assert result == json.loads((quality.folder / "test/example_output/combine/result.json").read_text())

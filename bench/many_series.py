"""A dataset of as many series as there are rows in a table of series, each with one small DICOM file.

The table is that of the NCI Imaging Data Commons, one million series of real patients, studies and scanners, where
``FEDPROC_IDC_SERIES`` names it as CSV (docs/bench.md says how it is made); else it is made up, and is called so.
"""

from __future__ import annotations

import csv
import os
import random
import struct
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path

from tests.site.data.dicom_files import uid

SOURCE = "FEDPROC_IDC_SERIES"
_IN_FOLDER = 1_000
_EXPLICIT = "1.2.840.10008.1.2.1"
_CT = "1.2.840.10008.5.1.4.1.1.2"
_TAGS = (
    (0x0008, 0x0016, b"UI", "SOPClassUID"), (0x0008, 0x0018, b"UI", "SOPInstanceUID"),
    (0x0008, 0x0020, b"DA", "StudyDate"), (0x0008, 0x0060, b"CS", "Modality"), (0x0008, 0x0070, b"LO", "Manufacturer"),
    (0x0010, 0x0020, b"LO", "PatientID"), (0x0010, 0x0040, b"CS", "PatientSex"), (0x0010, 0x1010, b"AS", "PatientAge"),
    (0x0012, 0x0062, b"CS", "PatientIdentityRemoved"), (0x0018, 0x0015, b"CS", "BodyPartExamined"),
    (0x0020, 0x000D, b"UI", "StudyInstanceUID"), (0x0020, 0x000E, b"UI", "SeriesInstanceUID"),
    (0x0028, 0x0301, b"CS", "BurnedInAnnotation"),
)  # fmt: skip


def series(count: int) -> tuple[str, Iterator[Mapping[str, str]]]:
    """What they are called, and ``count`` of them at most."""
    if source := os.environ.get(SOURCE):
        return "series of idc-index-data", islice(_read(Path(source)), count)
    return "synthetic series", _made_up(count)


def _read(path: Path) -> Iterator[Mapping[str, str]]:
    with path.open(newline="") as table:
        for row in csv.DictReader(table):
            yield {**row, "StudyDate": (row["StudyDate"] or "").replace("-", "")}


def _made_up(count: int) -> Iterator[Mapping[str, str]]:
    """As many persons and studies for each series as the real ones have, from one seed."""
    chance = random.Random(1)
    for number in range(count):
        yield {
            "PatientID": f"SYNTHETIC-{number // 12}", "StudyInstanceUID": uid(f"study {number // 6}"),
            "SeriesInstanceUID": uid(f"series {number}"), "SOPClassUID": _CT,
            "Modality": chance.choice(("CT", "CT", "MR", "SM", "CR", "PT", "US")),
            "BodyPartExamined": chance.choice(("CHEST", "BREAST", "PROSTATE", "BRAIN", "")),
            "Manufacturer": chance.choice(("ACME", "Another", "Third")), "PatientSex": chance.choice("FM"),
            "PatientAge": f"{chance.randrange(18, 95):03}Y", "StudyDate": f"{chance.randrange(2000, 2025)}0101",
        }  # fmt: skip


def write(folder: Path, rows: Iterator[Mapping[str, str]]) -> int:
    """One file for each; how many there are."""
    number = -1
    for number, row in enumerate(rows):
        place = folder / f"{number // _IN_FOLDER:04}"
        if number % _IN_FOLDER == 0:
            place.mkdir(parents=True)
        (place / f"{number:07}").write_bytes(file_of({**row, "SOPInstanceUID": f"2.25.{number + 1}"}))
    return number + 1


def file_of(row: Mapping[str, str]) -> bytes:
    """A DICOM file (PS3.10) without pixels, explicit VR little endian."""
    given = {"PatientIdentityRemoved": "YES", "BurnedInAnnotation": "NO", **row}
    elements = b"".join(_element(group, element, vr, given.get(name) or "") for group, element, vr, name in _TAGS)
    meta = _element(2, 0x0002, b"UI", given["SOPClassUID"]) + _element(2, 0x0003, b"UI", given["SOPInstanceUID"])
    meta += _element(2, 0x0010, b"UI", _EXPLICIT)
    length = _element(2, 0x0000, b"UL", struct.pack("<I", len(meta)).decode("latin-1"))
    return b"\0" * 128 + b"DICM" + length + meta + elements


def _element(group: int, element: int, vr: bytes, text: str) -> bytes:
    value = text.encode("latin-1", "replace")
    value += (b"\0" if vr == b"UI" else b" ") * (len(value) % 2)
    return struct.pack("<HH2sH", group, element, vr, len(value)) + value

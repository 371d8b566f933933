"""The demo's images: real ones of full size from pydicom-data, with lesions painted in that nobody ever had.

Each says so in its own elements: SeriesDescription, ImageComments, and a PatientID that is nobody's. Beside each image
lies a DICOM-SEG of its lesion. The same call writes the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedproc.demo.segmentation import segmentation

if TYPE_CHECKING:
    import numpy as np
    from pydicom.dataset import Dataset, FileDataset

FOLDER = "synthetic-lesions"
PERSONS = {"UB": 44, "BSC": 40, "FORTH": 36}
"""at each host; every value that a summary names has ten of them, or more"""
BASES = ("693_UNCI.dcm", "MR-SIEMENS-DICOM-WithOverlays.dcm")
"""a CT of a head and an MR of an abdomen, uncompressed"""
_BODY_PARTS = {"CT": "HEAD", "MR": "ABDOMEN"}
_UNSTATED = "NOT STATED BY THE SOURCE"
_AGES = {"045Y": "40-49", "052Y": "50-59", "064Y": "60-69"}
"""with the classes of ten years that they are in"""
_ATTRIBUTES = ("modality", "body_part", "manufacturer", "sex", "age")
_KEPT = ("SOPClassUID", "Modality", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation",
         "SamplesPerPixel", "PhotometricInterpretation", "PixelSpacing", "ImagePositionPatient",
         "ImageOrientationPatient", "SliceThickness", "PatientPosition", "KVP", "MagneticFieldStrength",
         "RescaleIntercept", "RescaleSlope", "ScanningSequence", "SequenceVariant", "ScanOptions", "MRAcquisitionType",
         "RepetitionTime", "EchoTime", "EchoTrainLength")  # fmt: skip


@dataclass(frozen=True)
class Person:
    """One synthetic person of one host."""

    host: str
    number: int

    @property
    def id(self) -> str:
        return f"SYNTHETIC-{self.host}-{self.number:03}"

    def digest(self) -> bytes:
        """Bytes that are the same for the same person."""
        return hashlib.sha256(self.id.encode()).digest()


def write_images(root: Path) -> None:
    """Make ``root/HOST/synthetic-lesions`` for every host. Raises ImportError without the extra
    ``demo``."""
    for host, count in PERSONS.items():
        folder = root / host / FOLDER
        folder.mkdir(parents=True)
        (folder / "dataset.json").write_text(json.dumps(_description(host), indent=1) + "\n")
        for number in range(count):
            _write_person(folder, Person(host, number))


_NAMED = 20
"""characters of a manufacturer that dicom-summary writes"""


def pooled_images() -> dict[str, dict[str, int]]:
    """All images in one place: how many persons have each value of an attribute."""
    found: dict[str, Counter[str]] = {name: Counter() for name in (*_ATTRIBUTES, "segmentations")}
    for person in (Person(host, number) for host, count in PERSONS.items() for number in range(count)):
        base, elements = _base(BASES[person.number % len(BASES)]), dict(_elements(person))
        found["modality"][base.Modality] += 1
        found["segmentations"]["SEG"] += 1
        found["body_part"][_BODY_PARTS[base.Modality]] += 1
        found["manufacturer"][_named(base.get("Manufacturer") or _UNSTATED)] += 1
        found["sex"][elements["PatientSex"]] += 1
        found["age"][_AGES[elements["PatientAge"]]] += 1
    return {name: dict(counts) for name, counts in found.items()}


def _named(manufacturer: str) -> str:
    return manufacturer if len(manufacturer) <= _NAMED else manufacturer[: _NAMED - 3].rstrip() + "..."


def _description(host: str) -> dict[str, Any]:
    return {
        "id": FOLDER,
        "version": "1.0.0",
        "description": f"Synthetic lesions at {host}, painted into real CT and MR images, with their segmentations",
        "source": "pixels of 693_UNCI.dcm and MR-SIEMENS-DICOM-WithOverlays.dcm as shipped by pydicom-data",
    }


def _write_person(folder: Path, person: Person) -> None:
    import pydicom

    image, lesion = make_image(person)
    for name, made in (("image", image), ("lesion", segmentation(image, lesion))):
        path = folder / person.id / f"{name}.dcm"
        path.parent.mkdir(exist_ok=True)
        pydicom.dcmwrite(path, made, enforce_file_format=True)


def make_image(person: Person) -> tuple[FileDataset, np.ndarray]:
    """The image of one person, and where its lesion is (rows x columns, true within)."""
    base = _base(BASES[person.number % len(BASES)])
    pixels, lesion = _painted(base.pixel_array, person.digest())
    made = _file(person)
    for word in _KEPT:
        if word in base:
            setattr(made, word, base[word].value)
    made.ImageType = ["DERIVED", "SECONDARY", "AXIAL" if made.Modality == "CT" else "OTHER"]
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
    made.BodyPartExamined = _BODY_PARTS[made.Modality]
    made.Manufacturer = base.get("Manufacturer") or _UNSTATED
    made.SeriesDescription = "SYNTHETIC lesion painted into a real image"
    made.ImageComments = f"Nobody's: pixels of pydicom-data's {BASES[person.number % len(BASES)]}, and a painted lesion"
    made.PixelData = pixels.tobytes()
    return made, lesion


@cache
def _base(name: str) -> Dataset:
    import pydicom
    from pydicom.data import get_testdata_file

    path = get_testdata_file(name, download=False)
    if path is None:
        raise ImportError(f"pydicom-data has no {name}; install the extra demo")
    return pydicom.dcmread(str(path))


def _painted(pixels: np.ndarray, digest: bytes) -> tuple[np.ndarray, np.ndarray]:
    """A bright ellipse in the middle half, of a place, size and strength that follow from the digest."""
    import numpy as np

    rows, columns = pixels.shape
    y, x = rows * (0.4 + 0.2 * digest[0] / 255), columns * (0.35 + 0.25 * digest[1] / 255)
    height, width = 8 + digest[2] % 16, 8 + digest[3] % 16
    grid_y, grid_x = np.ogrid[:rows, :columns]
    distance = ((grid_y - y) / height) ** 2 + ((grid_x - x) / width) ** 2
    strength = (0.15 + 0.15 * digest[4] / 255) * float(np.ptp(pixels))
    bright = pixels + strength * np.exp(-(distance**2))
    painted = np.clip(bright, pixels.min(), pixels.max()).astype(pixels.dtype)
    return painted, distance <= 1.0


def _file(person: Person) -> FileDataset:
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    for word, value in _elements(person):
        setattr(made, word, value)
    meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    return made


def _elements(person: Person) -> Iterator[tuple[str, str]]:
    half = person.number // 2
    yield from (("PatientID", person.id), ("PatientName", person.id), ("PatientIdentityRemoved", "YES"))
    yield "DeidentificationMethod", "synthetic: elements of the source were not taken over"
    yield from (("PatientSex", "FM"[half % 2]), ("PatientAge", list(_AGES)[half % 3]), ("PatientBirthDate", ""))
    yield from (("StudyDate", "20260101"), ("AcquisitionDate", "20260101"), ("StudyTime", ""), ("StudyID", "1"))
    yield from (("SeriesNumber", "1"), ("InstanceNumber", "1"), ("AccessionNumber", ""), ("ReferringPhysicianName", ""))
    yield from (("PositionReferenceIndicator", ""), ("AcquisitionNumber", ""))
    yield "BurnedInAnnotation", "NO"
    for kind in ("Study", "Series", "FrameOfReference"):
        yield f"{kind}InstanceUID" if kind != "FrameOfReference" else f"{kind}UID", uid(person.id, kind)
    yield "SOPInstanceUID", uid(person.id, "image")


def uid(*parts: str) -> str:
    """An UID that is the same for the same parts."""
    from pydicom.uid import generate_uid

    return generate_uid(entropy_srcs=list(parts))

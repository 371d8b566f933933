"""Small DICOM files, written as tests want them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, SegmentationStorage, generate_uid


def uid(name: str) -> str:
    """The same for the same name."""
    return generate_uid(entropy_srcs=[name])


def image(**values: Any) -> FileDataset:
    """A de-identified CT slice with all that a dataset should have; ``values`` by keyword, None takes one away."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made = FileDataset(None, {}, file_meta=meta, preamble=bytes(128))
    usual = {
        "SOPClassUID": CTImageStorage, "SOPInstanceUID": uid("instance"), "PatientID": "P1", "PatientName": "P1",
        "StudyInstanceUID": uid("study"), "SeriesInstanceUID": uid("series"), "Modality": "CT",
        "BodyPartExamined": "CHEST", "Manufacturer": "ACME", "PatientSex": "F", "PatientAge": "045Y",
        "AcquisitionDate": "20200131", "BurnedInAnnotation": "NO", "Rows": 4, "Columns": 4, "BitsAllocated": 8,
        "BitsStored": 8, "HighBit": 7, "PixelRepresentation": 0, "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2", "PixelData": bytes(16),
    }  # fmt: skip
    for word, value in {**usual, **values}.items():
        if value is not None:
            setattr(made, word, value)
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = made.SOPClassUID, made.SOPInstanceUID
    return made


def segmentation(of: str, **values: Any) -> FileDataset:
    """A DICOM-SEG made on the series ``of``."""
    referenced = Dataset()
    referenced.SeriesInstanceUID = of
    usual = {
        "SOPClassUID": SegmentationStorage, "Modality": "SEG", "SOPInstanceUID": uid("segmentation"),
        "SeriesInstanceUID": uid("segmentations"), "ReferencedSeriesSequence": Sequence([referenced]),
    }  # fmt: skip
    return image(**{**usual, **values})


def written(made: FileDataset) -> bytes:
    """Its bytes."""
    content = io.BytesIO()
    pydicom.dcmwrite(content, made, enforce_file_format=True)
    return content.getvalue()


def put(path: Path, made: FileDataset) -> Path:
    """Write it there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(written(made))
    return path

"""What is looked for: the names of the checks, and what a single file fails by its elements alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from imaging.files import Opened, numbers, text, whole_number
from imaging.pixels import samples

CHECKS = (
    "no_file_meta", "missing_tags", "missing_description", "mixed_series", "duplicate_uid", "duplicate_position",
    "missing_slices", "irregular_spacing", "mixed_orientation", "mixed_geometry", "truncated", "no_decoder",
    "bad_pixels", "pixel_range", "lossy", "identity_not_removed", "identifying", "private_tags", "burned_in",
    "segmentation_without_series",
)  # fmt: skip
SEGMENTATIONS = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
SLICED = ("CT", "MR", "PT")
"""modalities whose images are slices of a volume"""

_ALWAYS = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "Modality", "PatientID")
_OF_PIXELS = ("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "SamplesPerPixel",
              "PhotometricInterpretation")  # fmt: skip
_DESCRIPTION = ("BodyPartExamined", "Manufacturer")
_DATES = ("AcquisitionDate", "SeriesDate", "StudyDate")
_LOSSY = {
    "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.81", "1.2.840.10008.1.2.4.91",
    "1.2.840.10008.1.2.4.93", "1.2.840.10008.1.2.4.203",
}  # fmt: skip
"""transfer syntaxes that may lose something (PS3.5, annex A.4)"""
_REMOVED = {"", "ANON", "ANONYMIZED", "ANONYMISED", "ANONYMOUS", "REMOVED", "NONE", "DE-IDENTIFIED"}
_IDENTIFYING = ("PatientBirthDate", "PatientAddress", "PatientTelephoneNumbers", "OtherPatientIDs", "OtherPatientNames",
                "PatientMotherBirthName", "PatientBirthName", "ReferringPhysicianName", "PerformingPhysicianName",
                "OperatorsName", "InstitutionName", "InstitutionAddress")  # fmt: skip
_OFTEN_WITH_TEXT = {"US", "SC", "OT", "ES", "XC", "GM", "DOC", "IVUS"}
_IMPLICIT = "1.2.840.10008.1.2"


def of_file(opened: Opened) -> Iterator[str]:
    """The checks that the file fails by itself, without a look at its pixels."""
    data = opened.data
    if not opened.syntax:
        yield "no_file_meta"
    if any(not text(data, word) for word in _required(data)) or not _is_placed(data):
        yield "missing_tags"
    if any(not text(data, word) for word in _DESCRIPTION) or not any(text(data, word) for word in _DATES):
        yield "missing_description"
    if opened.syntax in _LOSSY or text(data, "LossyImageCompression") == "01":
        yield "lossy"
    if _is_truncated(opened):
        yield "truncated"
    yield from _of_identity(data)


def has_pixels(data: Any) -> bool:
    """Whether it is of a kind that has pixels, by its elements."""
    return "Rows" in data or "BitsAllocated" in data


def is_single_slice(data: Any) -> bool:
    """Whether it is one slice of a volume (several frames say where they are in another way)."""
    frames = whole_number(data, "NumberOfFrames")
    return text(data, "Modality").upper() in SLICED and has_pixels(data) and frames in (None, 1)


def _required(data: Any) -> tuple[str, ...]:
    return (*_ALWAYS, *_OF_PIXELS) if has_pixels(data) else _ALWAYS


def _is_placed(data: Any) -> bool:
    """A slice says where it is, and how large its pixels are; what is derived as a picture of others need not."""
    if not is_single_slice(data) or "SECONDARY" in text(data, "ImageType").upper():
        return True
    wanted = (("ImagePositionPatient", 3), ("ImageOrientationPatient", 6), ("PixelSpacing", 2))
    return all(numbers(data, word, count) is not None for word, count in wanted)


def _is_truncated(opened: Opened) -> bool:
    """Less behind the elements than uncompressed pixels take."""
    if not has_pixels(opened.data):
        return False
    head = 8 if opened.syntax in ("", _IMPLICIT) else 12  # tag, type and length of the pixels' element
    bits = whole_number(opened.data, "BitsAllocated")
    if opened.syntax not in ("", _IMPLICIT, "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"):
        return opened.rest <= head
    wanted = samples(opened) * (bits or 0) // 8
    if text(opened.data, "PhotometricInterpretation").startswith("YBR_FULL_422"):
        wanted = wanted * 2 // 3
    return opened.rest - head < wanted


def _of_identity(data: Any) -> Iterator[str]:
    """PS3.15, annex E: by the elements of the file itself, never by its pixels."""
    removed = text(data, "PatientIdentityRemoved") == "YES"
    if not removed:
        yield "identity_not_removed"
    name = text(data, "PatientName").replace("^", " ").strip()
    has_name = not removed and name.upper() not in _REMOVED and name != text(data, "PatientID")
    if has_name or any(text(data, word).upper() not in _REMOVED for word in _IDENTIFYING):
        yield "identifying"
    if any(tag.is_private for tag in data.keys()):  # noqa: SIM118 (iteration would convert each element)
        yield "private_tags"
    burned, modality = text(data, "BurnedInAnnotation"), text(data, "Modality").upper()
    if burned == "YES" or (burned != "NO" and modality in _OFTEN_WITH_TEXT):
        yield "burned_in"

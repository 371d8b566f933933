"""All series below a folder, each with the checks that it fails, whatever the files are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from findings import SEGMENTATIONS, has_pixels, is_single_slice, of_file
from imaging.cells import named
from imaging.faults import UnreadableError
from imaging.files import Opened, files_below, opened, text, whole_number
from imaging.pixels import LARGEST, NATIVE, NoPixelsError, pixels_of, samples, stored_words
from slices import Slice, of_slices, slice_of

Pixels = npt.NDArray[Any]
NONE = "none"
"""for series without pixels"""
UNSEEN = "not looked at"
_SHARES = ((0.01, "below 1%"), (0.1, "1% to 10%"), (0.5, "10% to 50%"))
_DIRECTORY = "1.2.840.10008.1.3.10"
_OVERLAY_ROWS = (0x6000, 0x0010)
"""of the first overlay, which may lie in the bits above those of the pixels"""
_SYNTAXES = {
    "": "not said", "1.2.840.10008.1.2": "implicit", "1.2.840.10008.1.2.1": "explicit",
    "1.2.840.10008.1.2.1.99": "deflated", "1.2.840.10008.1.2.2": "big endian", "1.2.840.10008.1.2.5": "RLE",
    "1.2.840.10008.1.2.4.50": "JPEG baseline", "1.2.840.10008.1.2.4.51": "JPEG extended",
    "1.2.840.10008.1.2.4.57": "JPEG lossless", "1.2.840.10008.1.2.4.70": "JPEG lossless",
    "1.2.840.10008.1.2.4.80": "JPEG-LS lossless", "1.2.840.10008.1.2.4.81": "JPEG-LS",
    "1.2.840.10008.1.2.4.90": "JPEG 2000 lossless", "1.2.840.10008.1.2.4.91": "JPEG 2000",
    "1.2.840.10008.1.2.4.201": "HTJ2K lossless", "1.2.840.10008.1.2.4.202": "HTJ2K lossless",
    "1.2.840.10008.1.2.4.203": "HTJ2K",
}  # fmt: skip
"""by transfer syntax (PS3.6, annex A)"""


@dataclass
class Series:
    """What one series is and fails. ``use`` is the class of the share of its stored bits' range that its pixels use."""

    persons: set[str] = field(default_factory=set)
    studies: set[str] = field(default_factory=set)
    modalities: set[str] = field(default_factory=set)
    manufacturer: str = ""
    syntax: str = ""
    bits: str = NONE
    use: str = NONE
    fails: set[str] = field(default_factory=set)
    refers: set[str] = field(default_factory=set)
    slices: list[Slice] = field(default_factory=list)
    looked: int = 0
    """images of which the pixels were looked at"""
    uses: list[str] = field(default_factory=list)

    @property
    def modality(self) -> str:
        return min(self.modalities)


@dataclass
class Found:
    """All series; how many files are no DICOM, and how many begin as DICOM and cannot be read."""

    series: list[Series]
    others: int
    unreadable: int
    files: int


def look(folder: Path, pixels_of_series: int) -> Found:
    """Every file once; of ``pixels_of_series`` images of each series the pixels as well."""
    by_uid: dict[str, Series] = {}
    instances: dict[str, str] = {}
    found = Found([], 0, 0, 0)
    for path in files_below(folder):
        found.files += 1
        try:
            file = opened(path)
        except UnreadableError:
            found.unreadable += 1
            continue
        if file is None:
            found.others += path.name != "dataset.json"
        elif text(file.data.file_meta, "MediaStorageSOPClassUID") == _DIRECTORY:
            found.others += 1
        else:
            key = _key(file.data)
            _add(by_uid.setdefault(key, Series()), file, pixels_of_series)
            _note_instance(instances, text(file.data, "SOPInstanceUID"), key, by_uid)
    for one in by_uid.values():
        _finish(one, by_uid.keys())
    found.series = list(by_uid.values())
    return found


def _key(data: Any) -> str:
    """Images without a series are one series of their study and person."""
    uid = text(data, "SeriesInstanceUID")
    return uid or f"?{text(data, 'PatientID')}?{text(data, 'StudyInstanceUID')}"


def _note_instance(instances: dict[str, str], uid: str, key: str, by_uid: dict[str, Series]) -> None:
    """The UID of one image that is there a second time is wrong in both places."""
    if uid and uid in instances:
        by_uid[key].fails.add("duplicate_uid")
        by_uid[instances[uid]].fails.add("duplicate_uid")
    instances.setdefault(uid, key)


def _add(series: Series, file: Opened, most: int) -> None:
    data = file.data
    if not series.modalities:
        series.manufacturer = named(text(data, "Manufacturer"), 20)
        series.syntax = _SYNTAXES.get(file.syntax, "other")
        series.bits = _bits(data)
    series.persons.add(text(data, "PatientID"))
    series.studies.add(text(data, "StudyInstanceUID"))
    series.modalities.add(named(text(data, "Modality").upper(), 16))
    series.fails.update(of_file(file))
    if text(data, "SOPClassUID") in SEGMENTATIONS:
        series.refers.update(_referred(data))
    if is_single_slice(data) and "LOCALIZER" not in text(data, "ImageType").upper():
        place = slice_of(file)
        series.slices += [] if place is None else [place]
    if has_pixels(data) and series.looked < most:
        series.looked += 1
        series.uses += [use for use in [_of_pixels(series, file)] if use is not None]


def _bits(data: Any) -> str:
    stored, allocated = whole_number(data, "BitsStored"), whole_number(data, "BitsAllocated")
    if not has_pixels(data):
        return NONE
    return named(f"{stored} of {allocated}", 20) if stored and allocated else "?"


def _referred(data: Any) -> Iterator[str]:
    """The series that a segmentation was made on; an empty text where it does not say."""
    try:
        found = [text(item, "SeriesInstanceUID") for item in data.ReferencedSeriesSequence]
    except Exception:  # noqa: BLE001 (absent, or no sequence)
        found = []
    yield from found or [""]


def _finish(series: Series, there: Any) -> None:
    if len(series.persons) > 1 or len(series.studies) > 1 or len(series.modalities) > 1:
        series.fails.add("mixed_series")
    if any(uid not in there for uid in series.refers):
        series.fails.add("segmentation_without_series")
    series.fails.update(of_slices(series.slices))
    if series.bits != NONE:
        series.use = Counter(series.uses).most_common(1)[0][0] if series.uses else UNSEEN


def _of_pixels(series: Series, file: Opened) -> str | None:
    """The class of the range that the pixels use; what is wrong with them is noted."""
    if file.syntax not in NATIVE:
        series.fails.add("no_decoder" if file.syntax else "bad_pixels")
        return None
    if samples(file) > LARGEST:
        return None
    try:
        pixels = pixels_of(file)
    except NoPixelsError:
        series.fails.add("bad_pixels")
        return None
    bits = whole_number(file.data, "BitsStored") or 0
    words = stored_words(file)
    if _is_flat(pixels, bits) or (
        _OVERLAY_ROWS not in file.data and _is_beyond(pixels if words is None else words, bits)
    ):
        series.fails.add("pixel_range")
    return _share(pixels, bits)


def _is_flat(pixels: Pixels, bits: int) -> bool:
    return bits > 1 and bool(pixels.min() == pixels.max())


def _is_beyond(words: Pixels, bits: int) -> bool:
    """Whether one needs more bits than are said to be stored."""
    if not np.issubdtype(words.dtype, np.integer) or not 0 < bits <= 32:
        return False
    least = -(2 ** (bits - 1)) if np.issubdtype(words.dtype, np.signedinteger) else 0
    return bool(words.min() < least or words.max() >= least + 2**bits)


def _share(pixels: Pixels, bits: int) -> str:
    """The class of the share of the stored bits' range that the pixels span."""
    whole = 2.0**bits if 1 < bits <= 32 else 0.0
    share = (float(pixels.max()) - float(pixels.min())) / whole if whole else 1.0
    return (
        "below 1%" if share < 0.01 else "1% to 10%" if share < 0.1 else "10% to 50%" if share < 0.5 else "50% or more"
    )

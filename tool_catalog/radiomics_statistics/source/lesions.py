"""The lesions of a folder: each segment of a DICOM-SEG (PS3.3, A.51), on the images that it was made on.

A segment of which an image is absent, cannot be decoded here, or lies irregularly, is not used, and is counted as such.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from features import features_of
from images import SAME, Folder, Image, normal_of
from imaging.faults import UnreadableError
from imaging.files import numbers, opened, text, whole_number
from imaging.pixels import NoPixelsError, pixels_of

LARGEST = 256 << 20
"""voxels of one segmentation"""
LARGEST_LESION = 32 << 20
"""voxels of the box around one lesion"""
_SHARE = 0.01
"""of the distance of two slices, by which one may differ"""
Mask = npt.NDArray[np.bool_]


class _UnusedError(Exception):
    """A segment that cannot be measured."""


@dataclass(frozen=True)
class Lesion:
    """One lesion's features by name, and whose it is."""

    person: str
    modality: str
    features: dict[str, float]

    @property
    def persons(self) -> tuple[str]:
        return (self.person,)


@dataclass
class Lesions:
    """All that could be measured, and how many could not."""

    found: list[Lesion]
    unused: int


def measure(folder: Folder, modality: str, segment: str) -> Lesions:
    """The lesions on images of a modality (any, if empty), of segments called so (all, if empty)."""
    lesions = Lesions([], 0)
    for path in folder.segmentations:
        try:
            for person, frames in _segments(path, folder, segment):
                _measure(lesions, person, frames, folder, modality)
        except (NoPixelsError, UnreadableError):
            lesions.unused += 1
    return lesions


Frames = Sequence[tuple[Mask, "Image | None"]]


def _measure(lesions: Lesions, person: str, frames: Frames, folder: Folder, modality: str) -> None:
    marked = [(mask, image) for mask, image in frames if mask.any()]
    images = [image for _, image in marked if image is not None]
    if modality and images and images[0].modality != modality:
        return
    try:
        found = features_of(*_volume(marked, folder))
        lesions.found.append(Lesion(person, images[0].modality, found))
    except (_UnusedError, NoPixelsError):
        lesions.unused += 1


# -- what a segmentation says ---------------------------------------------------------------------------


def _segments(path: Path, folder: Folder, wanted: str) -> Iterator[tuple[str, Frames]]:
    """Whose, and frames with their images, by segment. Raises NoPixelsError and UnreadableError."""
    file = opened(path)
    if file is None:
        return
    data = file.data
    pixels = pixels_of(file, LARGEST)
    pixels = pixels[None] if pixels.ndim == 2 else pixels
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        numbers_of_frames = _segments_of_frames(data, len(pixels))
        names = _names(data)
        sources = [_source(data, frame, folder) for frame in range(len(pixels))]
    masks = pixels * 2 >= _whole(data)
    for number in sorted(set(numbers_of_frames)):
        if not wanted or wanted in names.get(number, ()):
            of = [frame for frame, its in enumerate(numbers_of_frames) if its == number]
            yield text(data, "PatientID"), [(masks[frame], sources[frame]) for frame in of]


def _whole(data: Any) -> int:
    """What stands for all of a voxel; half of it is taken as in."""
    is_fraction = text(data, "SegmentationType") == "FRACTIONAL"
    return (whole_number(data, "MaximumFractionalValue") or 255) if is_fraction else 1


def _segments_of_frames(data: Any, frames: int) -> list[int]:
    """The segment that each frame is of; 1 where there is no word of it and one segment alone."""
    found = []
    for frame in range(frames):
        item = _item(_group(data, frame, "SegmentIdentificationSequence"))
        number = whole_number(item, "ReferencedSegmentNumber") if item is not None else 1
        found.append(number or 1)
    return found


def _names(data: Any) -> dict[int, tuple[str, ...]]:
    """By segment: its label, and the code of its type."""
    found: dict[int, tuple[str, ...]] = {}
    try:
        for item in data.SegmentSequence:
            code = _item(item.get("SegmentedPropertyTypeCodeSequence"))
            said = (text(item, "SegmentLabel"), text(code, "CodeValue") if code is not None else "")
            found[whole_number(item, "SegmentNumber") or 0] = said
    except Exception:  # noqa: BLE001 (absent, or no sequence)
        return found
    return found


def _source(data: Any, frame: int, folder: Folder) -> Image | None:
    """The image of a frame: the one that it names, or else the one of the same series at the same place."""
    derivation = _item(_group(data, frame, "DerivationImageSequence"))
    source = _item(derivation.get("SourceImageSequence")) if derivation is not None else None
    if source is not None and (named := folder.images.get(text(source, "ReferencedSOPInstanceUID"))) is not None:
        return named
    series = _item(data.get("ReferencedSeriesSequence"))
    plane = _item(_group(data, frame, "PlanePositionSequence"))
    position = numbers(plane, "ImagePositionPatient", 3) if plane is not None else None
    if series is None or position is None:
        return None
    uid = text(series, "SeriesInstanceUID")
    here = [image for image in folder.images.values() if image.series == uid and _is_at(image, position)]
    return here[0] if len(here) == 1 else None


def _is_at(image: Image, position: tuple[float, ...]) -> bool:
    return abs(float(normal_of(image.orientation) @ np.asarray(position)) - image.at) < SAME


def _group(data: Any, frame: int, word: str) -> Any:
    """A functional group of a frame, or of all frames; None where it is absent."""
    try:
        own = data.PerFrameFunctionalGroupsSequence[frame].get(word)
        return own if own else data.SharedFunctionalGroupsSequence[0].get(word)
    except Exception:  # noqa: BLE001 (absent, or no sequence)
        return None


def _item(sequence: Any) -> Any:
    try:
        return sequence[0]
    except Exception:  # noqa: BLE001 (absent, empty, or no sequence)
        return None


# -- one lesion as a volume -----------------------------------------------------------------------------


def _volume(
    marked: Sequence[tuple[Mask, Image | None]], folder: Folder
) -> tuple[npt.NDArray[np.float64], Mask, tuple[float, float, float]]:
    """Values, mask and spacing of the box around a lesion. Raises :class:`_UnusedError`."""
    frames = [(mask, image) for mask, image in marked if image is not None]
    if not frames or len(frames) < len(marked):
        raise _UnusedError
    first = frames[0][1]
    if any(_is_other(image, first) or mask.shape != image.shape for mask, image in frames):
        raise _UnusedError
    distance = _distance(folder.positions[first.series], first)
    low = min(image.at for _, image in frames)
    places = [round((image.at - low) / distance) for _, image in frames]
    off = max(abs(low + place * distance - image.at) for place, (_, image) in zip(places, frames, strict=True))
    if len(set(places)) < len(places) or off > _SHARE * distance + SAME:
        raise _UnusedError
    box = _box(np.any([mask for mask, _ in frames], axis=0))
    shape = (max(places) + 1, box[0].stop - box[0].start, box[1].stop - box[1].start)
    if int(np.prod(shape)) > LARGEST_LESION:
        raise _UnusedError
    values, inside = np.zeros(shape), np.zeros(shape, dtype=bool)
    for place, (mask, image) in zip(places, frames, strict=True):
        pixels = image.values()
        if pixels.shape != mask.shape:
            raise _UnusedError
        values[place], inside[place] = pixels[box], mask[box]
    return values, inside, (distance, *first.spacing)


def _is_other(image: Image, first: Image) -> bool:
    same = np.allclose(image.orientation, first.orientation, atol=1e-3) and image.spacing == first.spacing
    return not same or image.series != first.series or image.shape != first.shape


def _distance(positions: Sequence[float], image: Image) -> float:
    """Of two slices of the series in mm; of a single one its thickness."""
    ordered = sorted(positions)
    gaps = [after - before for before, after in pairwise(ordered) if after - before > SAME]
    found = float(np.median(gaps)) if gaps else image.thickness
    if found is None or found <= 0:
        raise _UnusedError
    return found


def _box(flat: Mask) -> tuple[slice, slice]:
    rows, columns = (np.flatnonzero(flat.any(axis=axis)) for axis in (1, 0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)

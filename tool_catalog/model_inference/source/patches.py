"""One site's images as patches, as ``flower-image`` makes them: one on a lesion, and one of the same image beside it.

A lesion is where a DICOM-SEG (PS3.3, A.51) of one frame marks it, in the image that it names. Of each person the
largest counts, so that each has one record of each outcome.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from imaging.faults import UnreadableError
from imaging.files import Opened, files_below, opened, text
from imaging.pixels import NoPixelsError, pixels_of
from records import Records

Array = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
CHANNELS = 3
_TRIES = 64
_SPREAD = 2.0
"""how far the patch beside a lesion may be, in patches"""


def read_lesions(folder: Path, size: int) -> Records:
    """The patches of ``size`` by ``size`` pixels, 1 on a lesion and 0 beside it."""
    images, marks = _read(folder)
    largest: dict[str, tuple[int, Array]] = {}
    everybody: set[str] = set()
    for uid, mark in sorted(marks.items()):
        person = text(mark.data, "PatientID")
        everybody.add(person)
        file = images.get(uid)
        found = _pair_of(file, mark, size, uid) if file is not None else None
        if found is not None:
            largest[person] = max(largest.get(person, found), found, key=lambda each: each[0])
    persons = sorted(largest)
    pairs = [largest[person][1] for person in persons]
    grey = np.concatenate(pairs)[:, None] if pairs else np.zeros((0, 1, size, size), np.float32)
    outcomes = np.tile([True, False], len(pairs))
    each = [person for person in persons for _ in range(2)]
    return Records(np.repeat(grey, CHANNELS, axis=1), each, outcomes, len(everybody) - len(persons))


def _read(folder: Path) -> tuple[dict[str, Opened], dict[str, Opened]]:
    """Images by their UID, and segmentations by the UID of the image that they are of."""
    images: dict[str, Opened] = {}
    marks: dict[str, Opened] = {}
    for file in _opened(folder):
        if text(file.data, "SOPClassUID") == SEGMENTATION:
            if (uid := _marked(file.data)) is not None:
                marks[uid] = file
        else:
            images.setdefault(text(file.data, "SOPInstanceUID"), file)
    return images, marks


def _opened(folder: Path) -> Iterator[Opened]:
    for path in files_below(folder):
        try:
            file = opened(path)
        except UnreadableError:
            continue
        if file is not None:
            yield file


def _marked(data: Any) -> str | None:
    """The only image that a segmentation names."""
    try:
        [series] = data.ReferencedSeriesSequence
        [instance] = series.ReferencedInstanceSequence
        return str(instance.ReferencedSOPInstanceUID)
    except Exception:  # noqa: BLE001 (absent, or no sequence)
        return None


def _pair_of(image: Opened, mark: Opened, size: int, uid: str) -> tuple[int, Array] | None:
    """The lesion's pixels, and the two patches; None for what cannot be decoded here, or does not fit."""
    try:
        pixels, mask = np.squeeze(pixels_of(image)).astype(np.float32), np.squeeze(pixels_of(mark)) > 0
    except NoPixelsError:
        return None
    if pixels.ndim != 2 or pixels.shape != mask.shape:
        return None
    pair = _pair(_scaled(pixels), mask, size, uid)
    return None if pair is None else (int(mask.sum()), pair)


def _scaled(pixels: Array) -> Array:
    """Mean 0 and deviation 1 within the image: scanners and modalities have scales of their own."""
    spread = float(pixels.std())
    return np.asarray((pixels - pixels.mean()) / (spread if spread > 0 else 1.0), dtype=np.float32)


def _pair(pixels: Array, mark: Mask, size: int, uid: str) -> Array | None:
    """The patch on the lesion's middle, and one beside it that touches no lesion, where follows from ``uid``."""
    rows, columns = pixels.shape
    if not mark.any() or rows < size or columns < size:
        return None
    middle = [round(float(places.mean())) - size // 2 for places in np.nonzero(mark)]
    top, left = (min(max(at, 0), most - size) for at, most in zip(middle, (rows, columns), strict=True))
    chance = np.random.default_rng(int.from_bytes(hashlib.sha256(uid.encode()).digest()[:8], "big"))
    for _ in range(_TRIES):
        shift = chance.uniform(-_SPREAD * size, _SPREAD * size, 2)
        y, x = int(top + shift[0]), int(left + shift[1])
        if 0 <= y <= rows - size and 0 <= x <= columns - size and not mark[y : y + size, x : x + size].any():
            return np.stack([pixels[a : a + size, b : b + size] for a, b in ((top, left), (y, x))])
    return None

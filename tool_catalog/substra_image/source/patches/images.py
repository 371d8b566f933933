"""One site's images as patches: one on each lesion, and one of the same image beside it.

A lesion is where a DICOM-SEG (PS3.3, A.51) of one frame marks it, in the image that it names. Whatever is no DICOM, or
an image of which nothing is marked, is passed over.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom

from .faults import Fault

Array = npt.NDArray[np.float32]
SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
CHANNELS = 3
LARGEST = 64 * 1024 * 1024
"""pixels of an image that is read"""
_TRIES = 64
_SPREAD = 2.0
"""how far the patch beside a lesion may be, in patches"""


@dataclass(frozen=True)
class Patches:
    """``images`` (n × 3 × size × size) with ``labels``: 1 on a lesion, 0 beside one; of so many ``persons``.

    ``whose`` has the person of each, by number from 0.
    """

    images: Array
    labels: npt.NDArray[np.int64]
    persons: int
    whose: npt.NDArray[np.int64]


@dataclass(frozen=True)
class SiteImages:
    train: Patches
    test: Patches


def read_site(folder: Path, size: int, every: int, least: int) -> SiteImages:
    """The patches of ``size`` by ``size`` pixels; one person in ``every`` is held out.

    Raises :class:`Fault` if one of the two parts is of fewer than ``least`` persons.
    """
    images, marks = _read(folder)
    by_person: dict[str, list[Array]] = {}
    for uid, mark in sorted(marks.items()):
        if uid in images and images[uid].pixels.shape == mark.shape:
            found = _pair(images[uid].pixels, mark, size, uid)
            if found is not None:
                by_person.setdefault(images[uid].person, []).append(found)
    parts = [_part(by_person, size, lambda n, out=out: (n % every == every - 1) == out) for out in (False, True)]
    for part, what in zip(parts, ("to train on", "held out"), strict=True):
        if part.persons < least:
            raise Fault(
                f"dataset: fewer than {least} persons (min_persons) have a lesion that is marked by a DICOM-SEG, "
                f"with a patch of {size} pixels beside it, among those {what}"
            )
    return SiteImages(*parts)


@dataclass(frozen=True)
class _Image:
    person: str
    pixels: Array


def _read(folder: Path) -> tuple[dict[str, _Image], dict[str, npt.NDArray[np.bool_]]]:
    """Images by their UID, and marks by the UID of the image that they are of."""
    images: dict[str, _Image] = {}
    marks: dict[str, npt.NDArray[np.bool_]] = {}
    for path in _files(folder):
        data = _dicom(path)
        if data is None:
            continue
        pixels = _pixels(data)
        if pixels is None:
            continue
        if str(data.get("SOPClassUID", "")) == SEGMENTATION:
            if (uid := _marked(data)) is not None:
                marks[uid] = pixels > 0
        else:
            images[str(data.get("SOPInstanceUID", ""))] = _Image(_person(data), _scaled(pixels))
    return images, marks


def _files(folder: Path) -> Iterator[Path]:
    for below, folders, names in os.walk(folder, followlinks=True):
        folders.sort()
        for name in sorted(names):
            if (path := Path(below, name)).is_file():
                yield path


def _dicom(path: Path) -> Any | None:
    with path.open("rb") as content:
        if content.read(132)[128:] != b"DICM":
            return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return pydicom.dcmread(path, force=True)
    except Exception:  # noqa: BLE001 (whatever its bytes are, the others are read)
        return None


def _pixels(data: Any) -> Array | None:
    """Rows × columns of a grey image of one frame, or None for what is none or cannot be decoded here."""
    try:
        if int(data.Rows) * int(data.Columns) > LARGEST or int(data.get("NumberOfFrames") or 1) != 1:
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pixels = np.squeeze(data.pixel_array)
        return np.asarray(pixels, dtype=np.float32) if pixels.ndim == 2 else None
    except Exception:  # noqa: BLE001 (whatever its elements are, the others are read)
        return None


def _marked(data: Any) -> str | None:
    """The only image that a segmentation names."""
    try:
        [series] = data.ReferencedSeriesSequence
        [instance] = series.ReferencedInstanceSequence
        return str(instance.ReferencedSOPInstanceUID)
    except (AttributeError, TypeError, ValueError):
        return None


def _person(data: Any) -> str:
    return str(data.get("PatientID") or data.get("StudyInstanceUID") or "")


def _scaled(pixels: Array) -> Array:
    """Mean 0 and deviation 1 within the image: scanners and modalities have scales of their own."""
    spread = float(pixels.std())
    return np.asarray((pixels - pixels.mean()) / (spread if spread > 0 else 1.0), dtype=np.float32)


def _pair(pixels: Array, mark: npt.NDArray[np.bool_], size: int, uid: str) -> Array | None:
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
            cut = [pixels[a : a + size, b : b + size] for a, b in ((top, left), (y, x))]
            return np.stack(cut)
    return None


def _part(by_person: dict[str, list[Array]], size: int, belongs: Any) -> Patches:
    owned = [pairs for number, (_, pairs) in enumerate(sorted(by_person.items())) if belongs(number)]
    pairs = [pair for own in owned for pair in own]
    if not pairs:
        return Patches(np.zeros((0, CHANNELS, size, size), np.float32), np.zeros(0, np.int64), 0, np.zeros(0, np.int64))
    grey, labels = np.concatenate(pairs)[:, None], np.tile([1, 0], len(pairs)).astype(np.int64)
    whose = np.repeat(np.arange(len(owned)), [2 * len(own) for own in owned])
    return Patches(np.repeat(grey, CHANNELS, axis=1), labels, len(owned), whose)

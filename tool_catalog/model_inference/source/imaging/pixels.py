"""The pixels of one file, where numpy alone decodes them, and never more of them than a job can hold."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

from imaging.files import Opened, whole_number

LARGEST = 64 << 20
"""samples of one file that are decoded"""
NATIVE = {
    "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2",
    "1.2.840.10008.1.2.5",
}  # fmt: skip
"""transfer syntaxes that need no codec but numpy: uncompressed ones, deflated, RLE"""
_WORDS = NATIVE - {"1.2.840.10008.1.2.5"}


class NoPixelsError(Exception):
    """There are no pixels, they cannot be decoded here, or there are more than are held."""


def samples(opened: Opened) -> int:
    """Numbers that the file says to have; 0 where it says nothing of the kind."""
    sizes = [whole_number(opened.data, word) for word in ("Rows", "Columns")]
    frames = whole_number(opened.data, "NumberOfFrames")
    each = whole_number(opened.data, "SamplesPerPixel")
    found = 1
    for size in (*sizes, 1 if frames is None else frames, 1 if each is None else each):
        if size is None or size < 1:
            return 0
        found *= size
    return found


def pixels_of(opened: Opened, largest: int = LARGEST) -> npt.NDArray[Any]:
    """All frames as stored, before any rescaling; ``largest`` is in samples. Raises :class:`NoPixelsError`."""
    if not 0 < samples(opened) <= largest or opened.syntax not in NATIVE:
        raise NoPixelsError
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return np.asarray(opened.whole().pixel_array)
    except Exception as error:  # whatever its elements are, the others are read
        raise NoPixelsError from error


def stored_words(opened: Opened) -> npt.NDArray[Any] | None:
    """The words of uncompressed pixels with all of their bits, which a decoder may clear; None for others."""
    allocated = whole_number(opened.data, "BitsAllocated")
    if opened.syntax not in _WORDS or allocated not in (8, 16, 32) or not 0 < samples(opened) <= LARGEST:
        return None
    is_signed = whole_number(opened.data, "PixelRepresentation") == 1
    order = ">" if opened.syntax == "1.2.840.10008.1.2.2" else "<"
    try:
        content = opened.whole().PixelData
        size = allocated // 8
        kind = f"{order}{'i' if is_signed else 'u'}{size}"
        words = np.frombuffer(content[: len(content) // size * size], kind)
    except Exception:  # noqa: BLE001 (whatever its elements are, the others are read)
        return None
    return words if len(words) else None

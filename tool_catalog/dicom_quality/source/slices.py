"""Whether the slices of one series make a volume: position along the normal, orientation, size (PS3.3, C.7.6.2)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import nan
from statistics import median_low

from imaging.files import Opened, numbers, text, whole_number

SAME = 1e-3
"""mm between two positions, and between two cosines of an orientation, below which they are the same"""
SHARE = 0.01
"""of the usual distance, by which one may differ"""
_WHOLE = 0.1
"""of the usual distance, by which a gap may differ from so many whole ones"""


@dataclass(frozen=True)
class Slice:
    """Where one image is; ``at`` is in mm along its own normal, ``kind`` tells images of one place apart."""

    at: float
    orientation: tuple[float, ...]
    geometry: tuple[float, ...]
    kind: tuple[str, ...]


def slice_of(opened: Opened) -> Slice | None:
    """None for one that does not say where it is."""
    data = opened.data
    position = numbers(data, "ImagePositionPatient", 3)
    cosines = numbers(data, "ImageOrientationPatient", 6)
    if position is None or cosines is None:
        return None
    a, b = cosines[:3], cosines[3:]
    normal = (a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0])
    sizes = tuple(float(whole_number(data, word) or 0) for word in ("Rows", "Columns"))
    spacing = numbers(data, "PixelSpacing", 2) or (nan, nan)  # which differs from nothing
    words = ("EchoTime", "TemporalPositionIdentifier", "AcquisitionNumber", "TriggerTime", "ImageType")
    kind = tuple(text(data, word) for word in words)
    return Slice(sum(x * y for x, y in zip(position, normal, strict=True)), cosines, (*sizes, *spacing), kind)


def of_slices(slices: Sequence[Slice]) -> Iterator[str]:
    """The checks that the slices of a series fail together."""
    if not slices:
        return
    if any(_differs(one.geometry, slices[0].geometry) for one in slices):
        yield "mixed_geometry"
    if any(_differs(one.orientation, slices[0].orientation) for one in slices):
        yield "mixed_orientation"
        return
    if any(count > 1 for count in Counter((round(one.at / SAME), one.kind) for one in slices).values()):
        yield "duplicate_position"
    yield from _of_distances(sorted(one.at for one in slices))


def _differs(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return any(abs(a - b) > SAME for a, b in zip(one, other, strict=True))


def _of_distances(positions: Sequence[float]) -> Iterator[str]:
    gaps = [after - before for before, after in pairwise(positions) if after - before > SAME]
    if len(gaps) < 2:
        return
    usual = median_low(gaps)
    times = [gap / usual for gap in gaps]
    absent = [round(each) >= 2 and abs(each - round(each)) <= _WHOLE for each in times]
    if any(absent):
        yield "missing_slices"
    if any(abs(each - 1) > SHARE and not gone for each, gone in zip(times, absent, strict=True)):
        yield "irregular_spacing"

"""Where the images and segmentations below a folder are; their pixels stay on the disk until they are needed."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from imaging.faults import UnreadableError
from imaging.files import Opened, files_below, numbers, opened, text, whole_number
from imaging.pixels import pixels_of

SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
SAME = 0.01
"""mm between two places below which they are one"""
Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Image:
    """One slice; ``at`` is in mm along its normal, ``spacing`` that of rows and of columns."""

    path: Path
    series: str
    modality: str
    at: float
    orientation: tuple[float, ...]
    spacing: tuple[float, float]
    shape: tuple[int, int]
    thickness: float | None

    def values(self) -> Array:
        """Rows x columns in the image's own unit (Modality LUT). Raises :class:`imaging.pixels.NoPixelsError`."""
        file = opened(self.path)
        assert file is not None
        slope, intercept = (_number(file.data, word) for word in ("RescaleSlope", "RescaleIntercept"))
        stored = pixels_of(file).astype(np.float64)
        return stored * (1.0 if slope is None else slope) + (0.0 if intercept is None else intercept)


@dataclass
class Folder:
    """Images by their UID, positions by series, segmentations by path."""

    images: dict[str, Image] = field(default_factory=dict)
    positions: dict[str, list[float]] = field(default_factory=dict)
    segmentations: list[Path] = field(default_factory=list)


def read_folder(folder: Path) -> Folder:
    """All of them; what is none, or cannot be read, is passed over."""
    found = Folder()
    for path in files_below(folder):
        try:
            file = opened(path)
        except UnreadableError:
            continue
        if file is None:
            continue
        if text(file.data, "SOPClassUID") == SEGMENTATION:
            found.segmentations.append(path)
        elif (image := _image(file)) is not None:
            found.images.setdefault(text(file.data, "SOPInstanceUID"), image)
    for image in found.images.values():
        found.positions.setdefault(image.series, []).append(image.at)
    return found


def normal_of(cosines: tuple[float, ...]) -> Array:
    """Of a slice, by the cosines of its rows and columns (PS3.3, C.7.6.2.1.1)."""
    return np.asarray(np.cross(cosines[:3], cosines[3:]))


def _image(file: Opened) -> Image | None:
    """None for what is no single slice of which it is said where it is and how large its pixels are."""
    data = file.data
    position, cosines = numbers(data, "ImagePositionPatient", 3), numbers(data, "ImageOrientationPatient", 6)
    spacing = numbers(data, "PixelSpacing", 2)
    rows, columns = whole_number(data, "Rows"), whole_number(data, "Columns")
    is_single = whole_number(data, "NumberOfFrames") in (None, 1) and whole_number(data, "SamplesPerPixel") in (None, 1)
    if position is None or cosines is None or spacing is None or not rows or not columns or not is_single:
        return None
    if min(spacing) <= 0:
        return None
    return Image(
        path=file.path,
        series=text(data, "SeriesInstanceUID"),
        modality=text(data, "Modality").upper(),
        at=float(normal_of(cosines) @ np.asarray(position)),
        orientation=cosines,
        spacing=(spacing[0], spacing[1]),
        shape=(rows, columns),
        thickness=_number(data, "SpacingBetweenSlices") or _number(data, "SliceThickness"),
    )


def _number(data: Any, word: str) -> float | None:
    try:
        found = float(data.get(word))
    except Exception:  # noqa: BLE001 (absent, or of another type)
        return None
    return found if np.isfinite(found) else None

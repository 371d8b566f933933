"""The series below a folder, by what is in its files; what is no DICOM, or cannot be read, is passed over."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom
from counting import Series, named, sex_of

_TAGS = ["PatientID", "StudyInstanceUID", "SeriesInstanceUID", "Modality", "BodyPartExamined", "Manufacturer",
         "PatientSex", "PatientAge"]  # fmt: skip
_AGE = re.compile(r"(\d{1,3})([DWMY])")
_YEARS = {"D": 365.25, "W": 52.18, "M": 12.0, "Y": 1.0}


def series_below(folder: Path) -> list[Series]:
    """Each series once, as its first file has it."""
    found: dict[str, Series] = {}
    for path in _files(folder):
        data = _read(path)
        if data is not None and (uid := _text(data, "SeriesInstanceUID")) and uid not in found:
            found[uid] = _series(data)
    return list(found.values())


def _files(folder: Path) -> Iterator[Path]:
    for below, folders, names in os.walk(folder, followlinks=True):
        folders.sort()
        for name in sorted(names):
            if (path := Path(below, name)).is_file():
                yield path


def _read(path: Path) -> Any | None:
    with path.open("rb") as content:
        head = content.read(132)
        if head[128:] != b"DICM" and head[:2] not in (b"\x08\x00", b"\x02\x00"):
            return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return pydicom.dcmread(path, stop_before_pixels=True, force=True, specific_tags=_TAGS)
    except Exception:  # noqa: BLE001 (whatever its bytes are, the others are counted)
        return None


def _series(data: Any) -> Series:
    return Series(
        patient=_text(data, "PatientID") or _text(data, "SeriesInstanceUID"),
        study=_text(data, "StudyInstanceUID"),
        modality=named(_text(data, "Modality").upper(), 16),
        body_part=named(_text(data, "BodyPartExamined").upper(), 16),
        manufacturer=named(_text(data, "Manufacturer"), 20),
        sex=sex_of(_text(data, "PatientSex").upper()),
        age=_age(_text(data, "PatientAge")),
    )


def _text(data: Any, word: str) -> str:
    try:
        return str(data.get(word) or "").strip()[:64]
    except Exception:  # noqa: BLE001 (its bytes are not what its type says)
        return ""


def _age(text: str) -> float | None:
    found = _AGE.fullmatch(text)
    return int(found[1]) / _YEARS[found[2]] if found else None

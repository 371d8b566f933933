"""The files below a folder, and each one's elements without its pixels."""

from __future__ import annotations

import os
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom

from imaging.faults import UnreadableError

INFLATED = 256 << 20
"""bytes that a deflated file may come to"""
_DEFLATED = "1.2.840.10008.1.2.1.99"
_LONGEST = 200
"""characters of a value that are looked at"""
_KEPT = 64 << 10
"""bytes of an element that are read before anybody asks for it"""


@dataclass(frozen=True)
class Opened:
    """One file's elements before its pixels, and how many bytes there are from the pixels' element on."""

    path: Path
    data: Any
    rest: int

    @property
    def syntax(self) -> str:
        """The transfer syntax's UID; empty where the file names none."""
        return text(getattr(self.data, "file_meta", None), "TransferSyntaxUID")

    def whole(self) -> Any:
        """The same with its pixels. Raises whatever pydicom does."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return pydicom.dcmread(self.path, force=True)


def files_below(folder: Path) -> Iterator[Path]:
    """All regular files, in the order of their names; links are followed as jobs see images by links."""
    for below, folders, names in os.walk(folder, followlinks=True):
        folders.sort()
        for name in sorted(names):
            if (path := Path(below, name)).is_file():
                yield path


def opened(path: Path) -> Opened | None:
    """What a file has before its pixels; None for what does not begin as DICOM does.

    Raises :class:`UnreadableError` for one that does, and then is something else.
    """
    try:
        with path.open("rb") as content:
            head = content.read(132)
            if head[128:] != b"DICM" and head[:2] not in (b"\x08\x00", b"\x02\x00"):
                return None
            content.seek(0)
            data = _read(content, path)
            size = path.stat().st_size
            rest = INFLATED if _syntax(data) == _DEFLATED else size - content.tell()
    except UnreadableError:
        raise
    except Exception as error:  # whatever its bytes are, the others are read
        raise UnreadableError from error
    if not any(tag.group > 2 for tag in data.keys()):  # noqa: SIM118 (iteration would convert each element)
        raise UnreadableError
    return Opened(path, data, rest)


def text(data: Any, word: str) -> str:
    """An element's value as text, without blanks around it; empty where it is absent, or is not what its type says."""
    try:
        value = data.get(word)
        return "" if value is None else str(value).strip()[:_LONGEST]
    except Exception:  # noqa: BLE001 (its bytes are not what its type says)
        return ""


def whole_number(data: Any, word: str) -> int | None:
    """An element's value as a whole number; None where it is none."""
    try:
        return int(data.get(word))
    except Exception:  # noqa: BLE001 (absent, or of another type)
        return None


def numbers(data: Any, word: str, count: int) -> tuple[float, ...] | None:
    """An element's ``count`` finite numbers; None where there are not as many."""
    try:
        found = tuple(float(value) for value in data.get(word))
    except Exception:  # noqa: BLE001 (absent, or of another type)
        return None
    finite = all(abs(value) < float("inf") for value in found)
    return found if len(found) == count and finite else None


def _read(content: Any, path: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        meta = pydicom.filereader.read_file_meta_info(path) if _has_meta(content) else None
        if text(meta, "TransferSyntaxUID") == _DEFLATED:
            _check_inflated(content, path)
        content.seek(0)
        return pydicom.dcmread(content, stop_before_pixels=True, force=True, defer_size=_KEPT)


def _has_meta(content: Any) -> bool:
    content.seek(128)
    return bool(content.read(6)[4:] == b"\x02\x00")


def _syntax(data: Any) -> str:
    return text(getattr(data, "file_meta", None), "TransferSyntaxUID")


def _check_inflated(content: Any, path: Path) -> None:
    """A few kilobytes may inflate to more than a job's memory: counted piece by piece before it is read."""
    with path.open("rb") as source:
        pydicom.filereader.read_preamble(source, force=False)
        pydicom.filereader._read_file_meta_info(source)
        inflating, many = zlib.decompressobj(-zlib.MAX_WBITS), 0
        while piece := inflating.unconsumed_tail or source.read(1 << 16):
            many += len(inflating.decompress(piece, 1 << 20))
            if many > INFLATED:
                raise UnreadableError
            if inflating.eof:
                break

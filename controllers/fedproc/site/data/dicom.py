"""One file, read as DICOM by what is in it: what it is a part of, and what is wrong with it (PS3.3, PS3.10).

Whatever the bytes are, reading them ends with an answer: pixels are not decoded, values that nobody asks for are
skipped, and no length that a file states is believed beyond its end.
"""

from __future__ import annotations

import errno
import io
import os
import re
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from typing import Any, BinaryIO, Protocol, Self

from fedproc.site.data.identifying import WORDS, Seen, identifying_in

_UNDEFINED = 0xFFFFFFFF
_PIXELS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
_SEQUENCE_END = b"\xfe\xff\xdd\xe0"
_TAIL = 64 << 10
"""bytes before a file's end in which encapsulated pixels end; few have anything behind them"""
_INFLATED = 256 << 20
"""bytes that a deflated file may come to"""
_MOST_READS = 2_000_000
"""of one file: sequences of undefined length are read item by item, and each item is held in memory"""
_DEFLATED = b"1.2.840.10008.1.2.1.99"
_DICOMDIR = "1.2.840.10008.1.3.10"
_SEGMENTATIONS = frozenset({"1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"})
_AGE = re.compile(r"(\d{1,3})([DWMY])")
_YEARS = {"D": 365.25, "W": 52.18, "M": 12.0, "Y": 1.0}
_LONGEST = 200
"""characters kept of a value"""

_MANDATORY = ("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "Modality", "BodyPartExamined",
              "Manufacturer")  # fmt: skip
_DATES = ("AcquisitionDate", "SeriesDate", "StudyDate")
_PLACE = ("SOPClassUID", "PatientSex", "PatientAge", "ReferencedSeriesSequence", "Rows", "Columns", "BitsAllocated",
          "SamplesPerPixel", "NumberOfFrames", "PhotometricInterpretation")  # fmt: skip


@dataclass(frozen=True)
class Instance:
    """What an index keeps of one DICOM file. ``age`` is in years, ``date`` is YYYY-MM-DD (acquired, else of series or
    study), ``refers`` are the series that a segmentation was made on."""

    patient: str | None = None
    study: str | None = None
    series: str | None = None
    instance: str | None = None
    sop_class: str | None = None
    modality: str | None = None
    body_part: str | None = None
    manufacturer: str | None = None
    sex: str | None = None
    age: float | None = None
    date: str | None = None
    refers: tuple[str, ...] = ()


@dataclass
class Reading:
    """What one file is: ``instance`` is None where it is no DICOM; ``problems`` are codes with a text each."""

    instance: Instance | None = None
    problems: list[tuple[str, str]] = field(default_factory=list)


def read(content: BinaryIO, size: int) -> Reading:
    """Read one file of ``size`` bytes. Raises OSError where it cannot be read, and nothing else."""
    content.seek(0)
    head = content.read(132)
    if head[128:132] != b"DICM" and not _like_dicom(head):
        return Reading()
    found = Reading()
    if head[128:132] != b"DICM":
        found.problems.append(("no_preamble", "has no DICOM preamble; some programs will not read it"))
    try:
        _read(found, content, size)
    except Exception as error:  # whatever its bytes make of it, the others are read
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise  # the disk's or the share's, not the bytes'
        found.problems.append(("unreadable_dicom", f"cannot be read as DICOM ({type(error).__name__})"))
    return found


def _like_dicom(head: bytes) -> bool:
    """Whether it begins with an element of the groups 0002 or 0008, as a data set without preamble does."""
    little, big = head[:2] in (b"\x02\x00", b"\x08\x00"), head[:2] in (b"\x00\x02", b"\x00\x08")
    if len(head) < 16 or not (little or big):
        return False
    element = int.from_bytes(head[2:4], "little" if little else "big")
    length = int.from_bytes(head[4:8], "little")
    return element <= 0x0100 and ((head[4:6].isalpha() and head[4:6].isupper()) or (little and length <= 256))


def _read(found: Reading, content: BinaryIO, size: int) -> None:
    from pydicom.datadict import tag_for_keyword
    from pydicom.filereader import read_partial

    seen, source = _Layout(), _Source(content, size)
    wanted = [tag for word in (*_MANDATORY, *_DATES, *_PLACE, *WORDS) if (tag := tag_for_keyword(word)) is not None]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if _inflates_too_far(source):
            found.problems.append(("unreadable_dicom", f"is deflated, and comes to more than {_INFLATED >> 20} MiB"))
            return
        source.seek(0)
        data = read_partial(source, stop_when=seen.stop, force=True, specific_tags=wanted)
        if str(data.file_meta.get("MediaStorageSOPClassUID", "")) == _DICOMDIR:
            return
        values = _Values(data)
        found.instance = instance_of(values)
        found.problems += [*missing_in(values), *_wrong_syntax(data, seen), *identifying_in(values.text, seen.seen)]
        if seen.pixels is not None and (text := _cut(values, seen, source)):
            found.problems.append(("truncated", text))


class _Layout:
    """What passes while the elements of a file are read: which there are, and where its pixels begin."""

    def __init__(self) -> None:
        self.seen = Seen()
        self.pixels: int | None = None
        """bytes of pixels, as the file states them"""
        self.header = 0
        """bytes before them that say so"""
        self.implicit: bool | None = None
        """whether elements are written without their types; None where there are none"""

    def stop(self, tag: int, vr: str | None, length: int) -> bool:
        """Called before each value; True ends the reading."""
        if self.implicit is None:
            self.implicit = vr is None
        if tag in _PIXELS:
            self.pixels, self.header = length, 8 if vr is None else 12
            return True
        self.seen.add(tag)
        return False


class _Source(io.BufferedReader):
    """A file of which no more is asked than it has: what a length claims is not set aside in memory."""

    def __init__(self, content: BinaryIO, size: int) -> None:
        super().__init__(os.fdopen(os.dup(content.fileno()), "rb", buffering=0), 64 << 10)
        self.size = size
        self.left = _MOST_READS
        self.seek(0)

    def read(self, length: int | None = -1, /) -> bytes:
        self.left -= 1
        if self.left < 0:
            raise ValueError("it has more elements than are read")
        left = max(0, self.size - self.tell())
        return super().read(left if length is None or length < 0 else min(length, left))


class Values(Protocol):
    """The values of a data set."""

    def text(self, word: str) -> str:
        """The value without blanks around it; empty if there is none."""
        ...

    def items(self, word: str) -> list[Self]:
        """Of a sequence."""
        ...


class _Values:
    """Values of a data set as text; one that cannot be read is as one that is not there."""

    def __init__(self, data: Any) -> None:
        self.data = data

    def text(self, word: str) -> str:
        """The value without blanks around it; empty if there is none."""
        try:
            value = self.data.get(word)
            text = "" if value is None else str(value)
        except Exception:  # noqa: BLE001 (its bytes are not what its type says)
            return ""
        return text.encode("utf-8", "replace").decode().replace("\0", "").strip()[:_LONGEST]

    def number(self, word: str) -> int:
        """0 if there is none."""
        text = self.text(word)
        return int(text) if text.isdecimal() else 0

    def items(self, word: str) -> list[_Values]:
        """Of a sequence."""
        try:
            return [_Values(item) for item in self.data.get(word) or ()]
        except Exception:  # noqa: BLE001
            return []


def instance_of(values: Values) -> Instance:
    """What an index keeps of an instance with these values."""
    sop_class = values.text("SOPClassUID")
    refers = values.items("ReferencedSeriesSequence") if sop_class in _SEGMENTATIONS else []
    return Instance(
        patient=values.text("PatientID") or None,
        study=values.text("StudyInstanceUID") or None,
        series=values.text("SeriesInstanceUID") or None,
        instance=values.text("SOPInstanceUID") or None,
        sop_class=sop_class or None,
        modality=values.text("Modality").upper() or None,
        body_part=values.text("BodyPartExamined").upper() or None,
        manufacturer=values.text("Manufacturer") or None,
        sex=values.text("PatientSex").upper() or None,
        age=_age(values.text("PatientAge")),
        date=next((day for word in _DATES if (day := _date(values.text(word)))), None),
        refers=tuple(sorted({text for item in refers if (text := item.text("SeriesInstanceUID"))})),
    )


def _age(text: str) -> float | None:
    found = _AGE.fullmatch(text)
    return int(found[1]) / _YEARS[found[2]] if found else None


def _date(text: str) -> str | None:
    if len(text) != 8 or not text.isdecimal():
        return None
    try:
        return date(int(text[:4]), int(text[4:6]), int(text[6:])).isoformat()
    except ValueError:
        return None


def missing_in(values: Values) -> Iterator[tuple[str, str]]:
    """The code ``missing_tags``, with the mandatory elements that are not there."""
    missing = [word for word in _MANDATORY if not values.text(word)]
    if not any(_date(values.text(word)) for word in _DATES):
        missing.append("AcquisitionDate")
    if missing:
        yield "missing_tags", f"has no {', '.join(missing)}"


def _wrong_syntax(data: Any, seen: _Layout) -> Iterator[tuple[str, str]]:
    """Elements are written otherwise than the file's transfer syntax says."""
    syntax = data.file_meta.get("TransferSyntaxUID")
    if syntax is None:
        yield "no_transfer_syntax", "does not say its transfer syntax"
    elif syntax.is_transfer_syntax and not syntax.is_private:
        if seen.implicit is not None and seen.implicit is not syntax.is_implicit_VR:
            yield "wrong_transfer_syntax", f"is not written as its transfer syntax says ({syntax.name})"
    elif not syntax.is_private:
        yield "wrong_transfer_syntax", "states a transfer syntax that is none"


def _inflates_too_far(content: BinaryIO) -> bool:
    """Whether it is deflated, and comes to more than what is read here."""
    from pydicom.filereader import _read_file_meta_info, read_preamble

    content.seek(0)
    read_preamble(content, force=True)
    if str(_read_file_meta_info(content).get("TransferSyntaxUID", "")).encode() != _DEFLATED:
        return False
    inflating, left = zlib.decompressobj(-zlib.MAX_WBITS), _INFLATED
    while left > 0 and (chunk := inflating.unconsumed_tail or content.read(1 << 20)):
        left -= len(inflating.decompress(chunk, 1 << 20))
    return left <= 0


def _cut(values: _Values, seen: _Layout, source: _Source) -> str | None:
    """Whether its pixels end before they should."""
    if str(values.data.file_meta.get("TransferSyntaxUID", "")).encode() == _DEFLATED:
        return None  # what is cut there cannot be inflated, either
    here = source.tell() + seen.header
    if seen.pixels == _UNDEFINED:
        source.seek(max(here, source.size - _TAIL))
        ended = _SEQUENCE_END in source.read()
        return None if ended else "ends within its compressed pixels"
    assert seen.pixels is not None
    if source.size - here < seen.pixels:
        return f"ends {seen.pixels - source.size + here} bytes before its pixels do"
    needed = _pixel_bytes(values)
    return f"has {seen.pixels} bytes of pixels, and needs {needed}" if 0 < seen.pixels < needed else None


def _pixel_bytes(values: _Values) -> int:
    frames = max(1, values.number("NumberOfFrames"))
    size = values.number("Rows") * values.number("Columns") * values.number("SamplesPerPixel") * frames
    if "422" in values.text("PhotometricInterpretation"):
        size = size * 2 // 3
    return size * values.number("BitsAllocated") // 8

"""What is in a sealed file, for a person's eyes: a table, text, JSON, a picture, or the shapes of a model's arrays.

Every token of a file is shown as it stands there; nothing is read into numbers and written again. What a person's eyes
do not see (bytes after a picture's end, texts in it) is told beside it. Files come from tools that nobody trusts: the
program of whoever looks reads them, under that account, and never the orchestrator.
"""

from __future__ import annotations

import csv
import io
import json
import re
import struct
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field

from fedproc.common import text as texts
from fedproc.site.policy.engine.kinds import HEAD, PICTURES, kind_of

TEXT_BYTES = 4 << 20
"""of a file that are shown as text or table"""
_HEAD_BYTES = 8 << 20
_MOST_CELLS = 200_000
_NPY = b"\x93NUMPY"
_PLAIN_CHUNKS = frozenset(
    {b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"sRGB", b"pHYs", b"cHRM", b"bKGD", b"sBIT"}
)
_PNG_HEAD = 8


_HIDDEN = re.compile(
    "[\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff\U000e0000-\U000e0fff]"
)
"""characters that no eye sees, or that turn the order of others round"""


def escaped(text: str) -> str:
    """One line as a person sees it: control characters, and those that are not seen, are written as ``\\u202e``."""
    return _HIDDEN.sub(lambda found: found[0].encode("unicode_escape").decode(), texts.escaped(text))


def of_bytes(data: bytes) -> str:
    """The same of bytes that may be UTF-8."""
    return escaped(data.decode("utf-8", "backslashreplace"))


@dataclass
class Content:
    """``kind`` is table, json, text, model, picture or bytes. ``rows`` of a table begin with its head."""

    kind: str
    rows: list[list[str]] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    media_type: str = ""


def content_of(source: io.BufferedIOBase | io.BytesIO, size: int, name: str) -> Content:
    """A file that can be sought in, of ``size`` bytes; ``name`` only decides between a table and text."""
    head = source.read(HEAD)
    kind = kind_of(head)
    if kind in PICTURES:
        source.seek(0)
        return _picture(source.read(size), str(kind))
    if (arrays := _arrays(source, size, head)) is not None:
        return Content("model", rows=[["array", "type", "shape"], *arrays])
    source.seek(0)
    content = source.read(min(size, TEXT_BYTES))
    shown = _text(content, name, kind)
    if size > len(content):
        shown.notes.append(f"these are the first {len(content)} of {size} bytes")
    if kind is not None:
        shown.notes.append(f"by its bytes it is of the kind {kind}")
    return shown


# -- text ------------------------------------------------------------------------------------------------


def _text(content: bytes, name: str, kind: str | None) -> Content:
    if kind is not None and kind != "markup":
        return Content("bytes", lines=list(_dump(content[:4096])))
    text = content.decode("utf-8", "backslashreplace")
    stripped = text.lstrip()
    if stripped.startswith(("{", "[")) and _is_json(text):
        return Content("json", lines=[escaped(line) for line in _laid_out(text)])
    if name.endswith((".csv", ".tsv")):
        rows = _rows(text, "\t" if name.endswith(".tsv") else ",")
        if rows is not None:
            return Content("table", rows=rows)
    return Content("text", lines=[of_bytes(line) for line in content.split(b"\n")])


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _laid_out(text: str) -> list[str]:
    """Valid JSON over lines; each token stays as it is, a key that stands twice, too."""
    lines: list[str] = []
    line, depth, quoted, skip = "", 0, False, False
    for letter in text:
        if quoted:
            line += letter
            quoted, skip = (True, False) if skip else (letter != '"', letter == "\\")
        elif letter in "}]":
            depth -= 1
            if line.strip():
                lines.append(line)
                line = "  " * depth + letter
            else:  # it closes what the line before has opened
                line = lines.pop() + letter
        elif letter in "{[,":
            depth += letter != ","
            lines.append(line + letter)
            line = "  " * depth
        elif not letter.isspace():
            line += ": " if letter == ":" else letter
            quoted = letter == '"'
    return [*lines, line]


def _rows(text: str, delimiter: str) -> list[list[str]] | None:
    try:
        rows = [
            [escaped(cell) for cell in row] for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        ]
    except csv.Error:
        return None
    return rows if sum(map(len, rows)) <= _MOST_CELLS else None


def _dump(content: bytes) -> Iterator[str]:
    for start in range(0, len(content), 16):
        part = content[start : start + 16]
        characters = "".join(chr(each) if 32 <= each < 127 else "." for each in part)
        yield f"{start:08x}  {part.hex(' '):<48}  {characters}"


# -- models ----------------------------------------------------------------------------------------------


def _arrays(source: io.BufferedIOBase | io.BytesIO, size: int, head: bytes) -> list[list[str]] | None:
    """Name, type and shape of each array; None if it is no model that the rules know."""
    if head.startswith(_NPY):
        return [["", *_npy(head)]]
    if head.startswith(b"PK\x03\x04"):
        return _npz(source)
    return _safetensors(source, size, head)


def _npy(head: bytes) -> tuple[str, str]:
    """By the text in the head of the file, which is not evaluated."""
    start = 10 if head[6:7] == b"\x01" else 12
    length = int.from_bytes(head[8:start], "little")
    described = of_bytes(head[start : start + min(length, HEAD)].strip())
    return "npy", described


def _npz(source: io.BufferedIOBase | io.BytesIO) -> list[list[str]] | None:
    try:
        with zipfile.ZipFile(source) as archive:
            found = []
            for entry in archive.infolist()[:10_000]:
                with archive.open(entry) as opened:
                    head = opened.read(HEAD)
                if not head.startswith(_NPY):
                    return None
                found.append([escaped(entry.filename), *_npy(head)])
            return found
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError, EOFError, OSError):
        return None


def _safetensors(source: io.BufferedIOBase | io.BytesIO, size: int, head: bytes) -> list[list[str]] | None:
    length = struct.unpack("<Q", head[:8])[0] if len(head) >= 8 else 0
    if not 2 <= length <= min(_HEAD_BYTES, size):
        return None
    source.seek(8)
    try:
        tensors = json.loads(source.read(length))
        return [
            [escaped(str(name)), escaped(str(each["dtype"])), escaped(str(each["shape"]))]
            for name, each in tensors.items()
            if name != "__metadata__"
        ]
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return None


# -- pictures --------------------------------------------------------------------------------------------


def _picture(content: bytes, kind: str) -> Content:
    notes = list(_hidden_in_png(content) if kind == "png" else _hidden_in_jpeg(content))
    return Content("picture", media_type=f"image/{kind}", notes=notes)


def _hidden_in_png(content: bytes) -> Iterator[str]:
    """What no eye sees: chunks that are no picture, and bytes after its end."""
    here = _PNG_HEAD
    while here + 12 <= len(content):
        length, name = struct.unpack(">I4s", content[here : here + 8])
        if name not in _PLAIN_CHUNKS:
            inside = of_bytes(content[here + 8 : here + 8 + min(length, 200)])
            yield f"it holds {length} bytes that are no picture (chunk {of_bytes(name)}): {inside}"
        here += 12 + length
        if name == b"IEND":
            break
    if here != len(content):
        yield f"{abs(len(content) - here)} bytes stand after the picture's end, or are missing"


def _hidden_in_jpeg(content: bytes) -> Iterator[str]:
    here = 2
    while here + 4 <= len(content) and content[here] == 0xFF:
        mark, length = content[here + 1], int.from_bytes(content[here + 2 : here + 4], "big")
        if mark == 0xDA:
            break
        if mark == 0xFE or (0xE1 <= mark <= 0xEF):
            inside = of_bytes(content[here + 4 : here + 4 + min(length, 200)])
            yield f"it holds {length} bytes that are no picture (segment {mark:02x}): {inside}"
        here += 2 + length
    end = content.rfind(b"\xff\xd9")
    if end != len(content) - 2:
        yield "bytes stand after the picture's end, or it has none"

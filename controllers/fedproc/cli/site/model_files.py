"""Names, types and shapes of a model's arrays, by its head; nothing is unpacked or run. Bytes of no array are told."""

from __future__ import annotations

import io
import json
import math
import re
import struct
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from fedproc.cli.site.escaping import escaped, of_bytes
from fedproc.site.policy.engine.kinds import HEAD

_HEAD_BYTES = 8 << 20
_DIRECTORY_BYTES = 16 << 20
_MOST_ARRAYS = 10_000
_MOST_CHARACTERS = 2000
_NPY = b"\x93NUMPY"
_DESCRIBED = re.compile(
    rb"\{'descr': '[<>|=]?[a-zA-Z](\d+)', 'fortran_order': (?:True|False), 'shape': \(([\d, ]*)\),? *\} *\n"
)
_BITS = {"F64": 64, "I64": 64, "U64": 64, "F32": 32, "I32": 32, "U32": 32, "F16": 16, "BF16": 16, "I16": 16, "U16": 16}
_EIGHT = 8
_USUAL: tuple[dict[str, str], ...] = ({}, {"format": "pt"}, {"format": "np"})
_LOCAL, _CENTRAL, _END = 30, 46, 22
_ZIP64_EXTRA = 20

Source = io.BufferedIOBase | io.BytesIO


@dataclass
class Arrays:
    """``rows``: name, type and shape of each; ``notes``: what else is in the file."""

    rows: list[list[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def arrays_of(source: Source, size: int, head: bytes) -> Arrays | None:
    """None if it is no model that the rules know."""
    if head.startswith(_NPY):
        return Arrays([["", *_npy(head)]], list(_beside_npy(head, size)))
    if head.startswith(b"PK\x03\x04"):
        return _npz(source, size)
    return _safetensors(source, size, head)


# -- NumPy -----------------------------------------------------------------------------------------------


def _described(head: bytes) -> tuple[int, bytes, int]:
    """Where the description begins, what of it is in the head, and how long it is."""
    start = 10 if head[6:7] == b"\x01" else 12
    length = int.from_bytes(head[8:start], "little")
    return start, head[start : start + length], length


def _npy(head: bytes) -> tuple[str, str]:
    """By the text in the head of the file, which is not evaluated."""
    return "npy", of_bytes(_described(head)[1].strip())


def _beside_npy(head: bytes, size: int) -> Iterator[str]:
    start, text, length = _described(head)
    found = _DESCRIBED.fullmatch(text) if len(text) == length else None
    if found is None:
        yield "the description of its array is not as NumPy writes it: how many bytes are its numbers cannot be told"
        return
    numbers = [int(each) for each in re.findall(rb"\d{1,18}", found[2])]
    item = 4 * int(found[1]) if b"'<U" in text or b"'>U" in text else int(found[1])
    if (beside := size - start - length - item * math.prod(numbers)) != 0:
        yield f"{abs(beside)} bytes stand after its numbers, or are missing"


def _npz(source: Source, size: int) -> Arrays | None:
    if (directory := _directory_bytes(source, size)) is None or directory > _DIRECTORY_BYTES:
        return None
    found = Arrays()
    try:
        with zipfile.ZipFile(source) as archive:
            entries = archive.infolist()
            for entry in entries[:_MOST_ARRAYS]:
                with archive.open(entry) as opened:
                    head = opened.read(HEAD)
                if not head.startswith(_NPY):
                    return None
                name = escaped(entry.filename)
                found.rows.append([name, *_npy(head)])
                found.notes += [f"{name}: {note}" for note in _beside_npy(head, entry.file_size)]
            if len(entries) > _MOST_ARRAYS:
                found.notes.append(f"{len(entries) - _MOST_ARRAYS} more arrays were not looked at")
            found.notes += _beside_entries(source, size, archive, entries)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError, EOFError, OSError):
        return None
    return found


def _directory_bytes(source: Source, size: int) -> int | None:
    """Of a ZIP file's central directory, as its end states it."""
    source.seek(max(0, size - _END - 0xFFFF))
    tail = source.read(_END + 0xFFFF)
    at = tail.rfind(b"PK\x05\x06")
    return int.from_bytes(tail[at + 12 : at + 16], "little") if at >= 0 else None


def _beside_entries(
    source: Source, size: int, archive: zipfile.ZipFile, entries: list[zipfile.ZipInfo]
) -> Iterator[str]:
    """Comments, and whatever stands between, before and after the entries of the ZIP file."""
    if archive.comment:
        yield f"it has a comment: {of_bytes(archive.comment[:200])}"
    taken = _END + len(archive.comment)
    for entry in entries:
        source.seek(entry.header_offset)
        local = source.read(_LOCAL)
        name, extra = struct.unpack("<HH", local[26:30]) if len(local) == _LOCAL else (0, 0)
        if entry.comment or extra not in (0, _ZIP64_EXTRA) or len(entry.extra) not in (0, _ZIP64_EXTRA):
            count, about = extra + len(entry.extra) + len(entry.comment), of_bytes((entry.comment + entry.extra)[:200])
            yield f"{escaped(entry.filename)} has {count} bytes beside it: {about}"
        taken += _LOCAL + name + extra + entry.compress_size
        taken += _CENTRAL + len(entry.orig_filename.encode()) + len(entry.extra) + len(entry.comment)
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        yield "its arrays are compressed: whether bytes stand after the last one of each cannot be told"
    if size != taken:
        yield f"{abs(size - taken)} bytes of the file are of no array"


# -- safetensors -----------------------------------------------------------------------------------------


def _safetensors(source: Source, size: int, head: bytes) -> Arrays | None:
    length = struct.unpack("<Q", head[:8])[0] if len(head) >= 8 else 0
    if not 2 <= length <= min(_HEAD_BYTES, size):
        return None
    source.seek(8)
    found, twice = Arrays(), list[str]()
    try:
        tensors = json.loads(source.read(length), object_pairs_hook=lambda pairs: _once(pairs, twice))
        for name, each in tensors.items():
            if name == "__metadata__":
                found.rows += _metadata(each)
                found.notes += [] if each in _USUAL else ["it holds texts beside its arrays (__metadata__)"]
            else:
                found.rows.append([escaped(str(part)) for part in (name, each["dtype"], each["shape"])])
        found.notes += [f"the key {name} stands twice in its head" for name in map(escaped, twice)]
        found.notes += _beside_tensors(tensors, size - 8 - length)
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return None
    return found


def _once(pairs: list[tuple[str, Any]], twice: list[str]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice += [name for name, count in Counter(name for name, _ in pairs).items() if count > 1]
    return found


def _metadata(given: dict[str, Any]) -> Iterator[list[str]]:
    for name, value in given.items():
        text = escaped(str(value))
        more = f" … and {len(text) - _MOST_CHARACTERS} more characters" if len(text) > _MOST_CHARACTERS else ""
        yield [f"__metadata__ {escaped(name)[:_MOST_CHARACTERS]}", "text", text[:_MOST_CHARACTERS] + more]


def _beside_tensors(tensors: dict[str, Any], size: int) -> Iterator[str]:
    here = 0
    described = [(each["data_offsets"], name, each) for name, each in tensors.items() if name != "__metadata__"]
    for (start, end), name, each in sorted(described, key=lambda entry: entry[0]):
        if start != here:
            yield f"{abs(start - here)} bytes before {escaped(name)} are of no array, or of two"
        bits = _BITS.get(each["dtype"], _EIGHT) * math.prod(each["shape"])
        if bits != 8 * (end - start):
            yield f"{escaped(name)} has another number of bytes than its type and shape say"
        if other := each.keys() - {"dtype", "shape", "data_offsets"}:
            more = escaped(str({key: each[key] for key in other}))[:200]
            yield f"{escaped(name)} has more in its description: {more}"
        here = end
    if here != size:
        yield f"{abs(size - here)} bytes stand after its arrays, or are missing"

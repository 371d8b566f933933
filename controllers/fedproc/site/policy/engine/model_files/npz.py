"""NumPy's npz: a ZIP file (PKWARE's APPNOTE 6.3) of npy files, as NumPy has Python write it, and no other byte.

Its entries stand one after the other from the first byte on, its directory behind them, and its end behind that. Each
field of a head that says nothing of an array has the value that a library gives it, and sums of content are computed.
A content has many deflated forms, so only the one counts that zlib makes of it at the level that NumPy has.
"""

from __future__ import annotations

import hashlib
import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fedproc.site.policy.engine.model_files.arrays import MOST_ARRAYS, Arrays, Source, is_name
from fedproc.site.policy.engine.model_files.npy import MAGIC, MOST_TEXTS, add_array

LOCAL = b"PK\x03\x04"
_CENTRAL, _END, _END64, _LOCATOR = b"PK\x01\x02", b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"
_LOCAL_HEAD, _CENTRAL_HEAD = struct.Struct("<4s5H3L2H"), struct.Struct("<4s4B4H3L5H2L")
_FULL, _FULL16 = 0xFFFFFFFF, 0xFFFF
_STORED, _DEFLATED = 0, 8
_VERSIONS, _FLAGS, _DATES = (20, 45), (0, 0x800), ((0, 0x21), (0, 0))
_SYSTEMS, _MODES = (0, 3), (0, 0o600 << 16, 0o100600 << 16, 0o100644 << 16)
_HEAD = MOST_TEXTS + 1
_CHUNK = 1 << 20


@dataclass(frozen=True)
class _Entry:
    name: bytes
    offset: int
    fields: tuple[int, ...]
    """version, flags, method, time and date of its head"""
    crc: int
    packed: int
    size: int


class _OtherwiseError(Exception):
    """It is no ZIP file of that kind, and where."""


def arrays_of_npz(source: Source, size: int) -> Arrays | None:
    """None if its first entry is no array."""
    found = Arrays()
    try:
        entries = list(_entries(source, size, found))
        _check_directory(source, size, entries)
    except (_OtherwiseError, zlib.error, struct.error) as error:
        found.note(f"it is no ZIP file as NumPy writes it: {error}")
    return found if found.rows else None


def _entries(source: Source, size: int, found: Arrays) -> Iterator[_Entry]:
    source.seek(0)
    seen = set()
    for _ in range(MOST_ARRAYS):
        offset = source.tell()
        head = source.read(_LOCAL_HEAD.size)
        if not head.startswith(LOCAL):
            source.seek(offset)
            return
        entry = _entry(source, head, offset, size)
        if entry.name in seen:
            raise _OtherwiseError("two entries have one name")
        seen.add(entry.name)
        _look_into(source, entry, found)
        yield entry
    raise _OtherwiseError(f"it has more than {MOST_ARRAYS} entries")


def _entry(source: Source, head: bytes, offset: int, size: int) -> _Entry:
    _, version, *others, crc, packed, whole, name_length, extra_length = _LOCAL_HEAD.unpack(head)
    name, extra = source.read(name_length), source.read(extra_length)
    flags, method, time, date = others
    usual = version in _VERSIONS and flags in _FLAGS and method in (_STORED, _DEFLATED) and (time, date) in _DATES
    if not usual:
        raise _OtherwiseError("the head of an entry has a time, a flag or a version of its own")
    if len(extra) == 20 and extra.startswith(b"\x01\0\x10\0"):
        small, (whole, packed) = (whole, packed), struct.unpack("<2Q", extra[4:])
        if small not in ((_FULL, _FULL), (whole, packed)):  # Python writes the latter up to 3.11.3
            raise _OtherwiseError("the head of an entry says two sizes")
    elif extra:
        raise _OtherwiseError(f"the head of an entry has {len(extra)} bytes beside it (extra field)")
    if source.tell() + packed > size or (method == _STORED and packed != whole):
        raise _OtherwiseError("an entry has another size than it says")
    return _Entry(name, offset, (version, *others), crc, packed, whole)


def _look_into(source: Source, entry: _Entry, found: Arrays) -> None:
    """Its array, its sum, and whether its bytes end where they should; afterwards the source is behind it."""
    shown = entry.name.decode("utf-8", "backslashreplace")
    start, content = source.tell(), _Reading(source, entry)
    head = content.some(_HEAD)
    if not head.startswith(MAGIC):
        raise _OtherwiseError(f"{shown} is no array")
    add_array(found, io.BytesIO(head), entry.size, shown)
    if not shown.endswith(".npy") or "/" in shown or not is_name(shown):
        found.note(f"{shown}: has other signs in its name than letters, digits, _ . : and -")
    if not content.ends():
        found.note(f"{shown}: its sum is not that of its bytes, or bytes stand after it")
    elif not content.is_packed_as_usual():
        found.note(
            f"{shown}: is deflated otherwise than zlib does it at its usual level; numpy.savez stores it plainly"
        )
    source.seek(start + entry.packed)


class _Reading:
    """The content of one entry, unpacked piece by piece and not kept."""

    def __init__(self, source: Source, entry: _Entry) -> None:
        self._source, self._entry = source, entry
        self._unpacker = zlib.decompressobj(-15) if entry.fields[2] == _DEFLATED else None
        self._packer = zlib.compressobj(zlib.Z_DEFAULT_COMPRESSION, zlib.DEFLATED, -15)
        self._given, self._usual = hashlib.sha256(), hashlib.sha256()
        self._left, self._read, self._crc = entry.packed, 0, 0

    def some(self, least: int) -> bytes:
        """At least so many bytes of the content, or all."""
        content = b""
        while len(content) < least and (piece := self._piece()):
            content += piece
        return content

    def ends(self) -> bool:
        """Whether the rest is as long as it says, with the right sum and nothing behind it."""
        while self._read <= self._entry.size and self._piece():
            pass
        unpacker = self._unpacker
        is_over = not self._left and (unpacker is None or (unpacker.eof and not unpacker.unused_data))
        return is_over and (self._read, self._crc) == (self._entry.size, self._entry.crc)

    def is_packed_as_usual(self) -> bool:
        """Whether its bytes are those that zlib makes of its content, which has been read to its end."""
        if self._unpacker is None:
            return True
        self._usual.update(self._packer.flush())
        return self._given.digest() == self._usual.digest()

    def _piece(self) -> bytes:
        piece = self._taken() if self._unpacker is None else self._unpacked(self._unpacker)
        self._read += len(piece)
        self._crc = zlib.crc32(piece, self._crc)
        return piece

    def _unpacked(self, unpacker: Any) -> bytes:
        while not unpacker.eof:
            given = unpacker.unconsumed_tail or self._taken()
            piece: bytes = unpacker.decompress(given, _CHUNK)
            if piece or not given:
                self._usual.update(self._packer.compress(piece))
                return piece
        return b""

    def _taken(self) -> bytes:
        taken = self._source.read(min(_CHUNK, self._left))
        self._left = self._left - len(taken) if taken else 0
        if self._unpacker is not None:
            self._given.update(taken)
        return taken


# -- the directory, and the end ----------------------------------------------------------------------------


def _check_directory(source: Source, size: int, entries: list[_Entry]) -> None:
    start = source.tell()
    kinds = {_check_entry(source, entry) for entry in entries}
    if len(kinds) > 1:
        raise _OtherwiseError("entries of its directory differ in what says nothing of an array")
    length = source.tell() - start
    if source.read(1 << 16) != _end(len(entries), length, start) or source.tell() != size:
        raise _OtherwiseError("its end has a comment, or bytes stand before, between or after its entries")


def _check_entry(source: Source, entry: _Entry) -> tuple[Any, ...]:
    """What of it may be one way or another, but the same for all."""
    head = source.read(_CENTRAL_HEAD.size)
    if not head.startswith(_CENTRAL):
        raise _OtherwiseError("bytes stand between its entries and its directory, or an entry lacks there")
    (_, made_version, made_system, version, reserved, *fields, crc, packed, whole, name_length, extra_length,
     comment, disk, internal, external, offset) = _CENTRAL_HEAD.unpack(head)  # fmt: skip
    name, extra = source.read(name_length), source.read(extra_length)
    sizes = [(packed, entry.packed), (whole, entry.size), (offset, entry.offset)]
    large = b"".join(struct.pack("<Q", sizes[at][1]) for at in (1, 0, 2) if sizes[at][0] == _FULL)
    wanted = struct.pack("<2H", 1, len(large)) + large if large else b""
    are_same = all(stated in (is_so, _FULL if is_so >= _FULL else is_so) for stated, is_so in sizes)
    usual = made_version in _VERSIONS and made_system in _SYSTEMS and version in _VERSIONS and external in _MODES
    if (name, crc, (version, *fields)) != (entry.name, entry.crc, entry.fields) or not are_same or extra != wanted:
        raise _OtherwiseError("an entry is otherwise in its directory")
    if not usual or reserved or comment or disk or internal:
        raise _OtherwiseError("an entry has a comment, or marks of its own")
    return made_version, made_system, external


def _end(count: int, length: int, start: int) -> bytes:
    end64 = b""
    if length >= _FULL or start >= _FULL:
        end64 = struct.pack("<4sQ2H2L4Q", _END64, 44, 45, 45, 0, 0, count, count, length, start)
        end64 += struct.pack("<4sLQL", _LOCATOR, 0, start + length, 1)
    sizes = min(length, _FULL), min(start, _FULL)
    return end64 + struct.pack("<4s4H2LH", _END, 0, 0, min(count, _FULL16), min(count, _FULL16), *sizes, 0)

"""Layers of an image as entries of tar, read once, in bounds (OCI image specification 1.1, "Image Layer")."""

from __future__ import annotations

import gzip
import io
import shutil
import subprocess
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Self

from fedproc.catalog.oci import Descriptor, ImageError
from fedproc.common.files import sha256_of

Entry = tuple[tarfile.TarInfo, IO[bytes] | None]
"""its content only where it is a file"""
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5"
_LONGEST_HEADER = 1 << 20
"""bytes of names and attributes of one entry"""
_PIECE = 1 << 20
_LONGEST_COMPLAINT = 4096
_BLOCK = 512
_EXTENDED = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME,
             tarfile.GNUTYPE_LONGLINK)  # fmt: skip


class Room:
    """How much all layers of an image may unpack to; what goes beyond raises :class:`ImageError`."""

    def __init__(self, most_bytes: int, most_entries: int) -> None:
        self._bytes, self._most_bytes = most_bytes, most_bytes
        self._entries, self._most_entries = most_entries, most_entries
        self._stream = 2 * most_bytes + most_entries * _BLOCK
        self.used = 0

    def take(self, size: int) -> None:
        """One entry more, of so many bytes."""
        self._entries -= 1
        self.used += size
        if self.used > self._most_bytes:
            raise ImageError(
                f"the image unpacks to more than {self._most_bytes >> 20} MB, which is what this host has or gives"
                " (sandbox.image_mb)"
            )
        if self._entries < 0:
            raise ImageError(f"the image has more than {self._most_entries} files and folders")

    def stream(self, size: int) -> None:
        """So many bytes came out of a compressed layer, whatever they are."""
        self._stream -= size
        if self._stream < 0:
            raise ImageError(f"the image's layers unpack to far more than {self._most_bytes >> 20} MB: a bomb")


class _Header(tarfile.TarInfo):
    """Refuses what would be read into memory whole, and an archive that goes on as something else."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        try:
            found = super().frombuf(buf, encoding, errors)
        except (tarfile.EOFHeaderError, tarfile.EmptyHeaderError):  # type: ignore[attr-defined]
            raise
        except tarfile.HeaderError as error:
            raise ImageError(f"a layer is no whole tar: {error}") from error
        _check_size(found)
        if found.type in _EXTENDED and found.size > _LONGEST_HEADER:
            raise ImageError(f"a layer has a header of {found.size} bytes")
        return found


class _Counted(io.RawIOBase):
    """Reads ``content``, and takes what comes from ``room``."""

    def __init__(self, content: IO[bytes], room: Room) -> None:
        self._content = content
        self._room = room

    def read(self, size: int = -1) -> bytes:
        piece = self._content.read(size if size >= 0 else _PIECE)
        self._room.stream(len(piece))
        return piece


@contextmanager
def entries_of(path: Path, blob: Descriptor, room: Room) -> Iterator[Iterator[Entry]]:
    """The entries of one layer in their order.

    Raises :class:`ImageError` for what is no tar, or too much, or has changed since it was fetched.
    """
    if (found := f"sha256:{sha256_of(path)}") != blob.digest:
        raise ImageError(f"layer {blob.digest} has the digest {found} on this host's disk: remove {path}")
    try:
        with _unpacked(path) as plain:
            counted = _Counted(plain, room)
            yield _entries(counted, room)
            while counted.read(_PIECE):  # a program that unpacks complains at the end
                pass
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, ValueError) as error:
        raise ImageError(f"layer {blob.digest} cannot be unpacked: {error}") from error


def _entries(content: Any, room: Room) -> Iterator[Entry]:
    with tarfile.open(fileobj=content, mode="r|", tarinfo=_Header, errors="surrogateescape") as archive:
        for entry in archive:
            _check_size(entry)  # again: headers before it may have given it another
            room.take(entry.size if entry.isreg() else 0)
            yield entry, archive.extractfile(entry) if entry.isreg() else None
            archive.members.clear()  # type: ignore[attr-defined]  # which it would keep of all


def _check_size(entry: tarfile.TarInfo) -> None:
    """One below nothing would make room for others."""
    if entry.size < 0:
        raise ImageError(f"a layer has an entry with a size of {entry.size}")


@contextmanager
def _unpacked(path: Path) -> Iterator[IO[bytes]]:
    with path.open("rb") as packed:
        magic = packed.read(2)
        packed.seek(0)
        if magic == _ZSTD:
            with _zstd(path) as plain:
                yield plain
        elif magic == _GZIP:
            with gzip.open(packed, "rb") as opened:
                yield opened  # type: ignore[misc]
        else:
            yield packed


@contextmanager
def _zstd(path: Path) -> Iterator[IO[bytes]]:
    """By Debian's program, which the standard library has no word of before Python 3.14."""
    program = shutil.which("zstd")
    if program is None:
        raise ImageError("the image's layers are packed by zstd, which is not here: apt-get install zstd")
    command = [program, "-dc", "--", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        try:
            yield child.stdout
            complaint = child.stderr.read(_LONGEST_COMPLAINT).decode(errors="replace").strip()
        except BaseException:
            child.kill()
            raise
    if child.returncode:
        raise ImageError(f"a layer cannot be unpacked: {complaint}")

"""A tool's source as one archive: made byte for byte the same each time, unpacked only as the manifest says."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import zlib
from pathlib import Path
from typing import IO

from fedproc.common.errors import InvalidInputError, UnreadableError
from fedproc.common.files import read_regular
from fedproc.contract.tool.tool import Manifest, SourceFile


def pack(folder: Path, manifest: Manifest) -> bytes:
    """The manifest's files as a tar.gz; same files, same bytes.

    Raises :class:`InvalidInputError` if a file is not any more what the manifest says.
    """
    raw = io.BytesIO()
    with gzip.GzipFile(fileobj=raw, mode="wb", mtime=0) as packed, tarfile.open(fileobj=packed, mode="w") as archive:
        for file in manifest.files:
            content = _read(folder / file.path)
            if content is None or hashlib.sha256(content).hexdigest() != file.sha256:
                raise InvalidInputError(f"{folder / file.path} was changed while it was packed; load the tool again")
            entry = tarfile.TarInfo(file.path)
            entry.size, entry.mode = file.size, 0o755 if file.executable else 0o644
            archive.addfile(entry, io.BytesIO(content))
    return raw.getvalue()


def _read(path: Path) -> bytes | None:
    try:
        return read_regular(path)
    except OSError:
        return None  # it is not any more what it was


def unpack(archive: bytes, manifest: Manifest, target: Path) -> None:
    """Lay the archive's files out below ``target`` (made here), if they are exactly the manifest's.

    Raises :class:`UnreadableError` for anything else: another file, a link, another size or hash, a file missing.
    """
    expected = {file.path: file for file in manifest.files}
    target.mkdir(parents=True)
    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as packed:
            for entry in packed:
                file = expected.pop(entry.name, None)
                if file is None or not entry.isreg() or entry.size != file.size:
                    raise UnreadableError(f"bundle: {entry.name!r} is not what the manifest says")
                content = packed.extractfile(entry)
                assert content is not None
                _lay_out(content, file, target)
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise UnreadableError(f"bundle cannot be unpacked: {error}") from error
    if expected:
        raise UnreadableError(f"bundle lacks {', '.join(sorted(expected)[:5])}")


def _lay_out(content: IO[bytes], file: SourceFile, target: Path) -> None:
    data = content.read(file.size)
    if hashlib.sha256(data).hexdigest() != file.sha256:
        raise UnreadableError(f"bundle: {file.path} does not have the manifest's hash")
    place = target / file.path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(data)
    place.chmod(0o755 if file.executable else 0o644)

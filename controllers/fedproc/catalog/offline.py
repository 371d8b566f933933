"""An archive of tools for a site that reaches nothing: one tar with signed manifests, sources, images and packages.

Nothing in it is trusted: the reader verifies a manifest by the catalogue's key, and all else by the hashes that the
manifest names. What no manifest names is not read.
"""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from fedproc.catalog.oci import Blobs, Descriptor
from fedproc.common.errors import InvalidInputError, UnreadableError

MANIFEST = "tools/{}/manifest.jws"
SOURCE = "tools/{}/source.tar.gz"
_SMALL = 64 << 20


class ArchiveWriter:
    """Writes an archive; each name once."""

    def __init__(self, path: Path) -> None:
        self._tar = tarfile.open(path, "w", format=tarfile.PAX_FORMAT)  # noqa: SIM115 (closed on exit)
        self._names: set[str] = set()

    def __enter__(self) -> ArchiveWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._tar.close()

    def add(self, name: str, source: Path) -> None:
        """Add a file under this name, if it is not there."""
        if name not in self._names:
            self._names.add(name)
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = source.stat().st_size, 0o644
            with source.open("rb") as content:
                self._tar.addfile(entry, content)


class Archive:
    """An archive that somebody brought. Close it after use."""

    def __init__(self, path: Path) -> None:
        """Raises :class:`InvalidInputError` if it cannot be read."""
        self._path = path
        try:
            self._tar = tarfile.open(path, "r:")  # noqa: SIM115 (closed on exit)
            self._members = {entry.name: entry for entry in self._tar if entry.isreg()}
        except (OSError, tarfile.TarError) as error:
            raise InvalidInputError(
                f"{path} is no archive of tools: {error}; make it with fedproc catalog pack"
            ) from error

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self._tar.close()

    def manifests(self) -> list[str]:
        """The signed manifests in it, unverified."""
        names = [name for name in self._members if name.startswith("tools/") and name.endswith("/manifest.jws")]
        return [self._small(name).decode(errors="replace") for name in sorted(names)]

    def source(self, digest: str) -> bytes:
        """The packed source of the tool with this digest, unverified."""
        return self._small(SOURCE.format(digest.replace(":", "-")))

    def extract_blob(self, folder: str, digest: str, blobs: Blobs) -> None:
        """Take a blob of ``folder`` into ``blobs``, by its digest. Raises :class:`UnreadableError` if it is another."""
        if blobs.has(Descriptor(digest, 0, "")):
            return
        with blobs.partial(digest) as partial, partial.open("wb") as target:
            shutil.copyfileobj(self._open(f"{folder}/{blobs.path(digest).name}"), target)
            target.flush()
            blobs.finish(digest, partial)

    def extract_wheels(self, target: Path) -> None:
        """Lay all packages out in ``target``; pip checks them by the hashes of a signed lock file."""
        for name in self._wheels():
            with (target / name.rpartition("/")[2]).open("wb") as wheel:
                shutil.copyfileobj(self._open(name), wheel)

    def _wheels(self) -> Iterator[str]:
        for name in self._members:
            folder, _, file = name.rpartition("/")
            if folder == "wheels" and file.endswith(".whl") and not file.startswith("."):
                yield name

    def _small(self, name: str) -> bytes:
        if self._members.get(name) is not None and self._members[name].size > _SMALL:
            raise UnreadableError(f"{self._path}: {name} is larger than any of its kind")
        return self._open(name).read()

    def _open(self, name: str) -> IO[bytes]:
        entry = self._members.get(name)
        content = self._tar.extractfile(entry) if entry else None
        if content is None:
            raise UnreadableError(f"{self._path} lacks {name}: the archive is not whole; pack or copy it again")
        return content

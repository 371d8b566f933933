"""Container images as files: a manifest and its blobs, each named by its sha256 (OCI image specification 1.1).

A digest that was signed thus covers every byte of an image, however it came: :class:`Blobs` lets nothing else in.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from fedproc.common.errors import SystemFaultError, UnreadableError
from fedproc.common.files import sha256_of
from fedproc.common.locks import file_locked

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
INDEXES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"
_COMPRESSED = {b"\x1f\x8b": "+gzip", b"\x28\xb5": "+zstd"}
_PIECE = 1 << 20
_TAR_BLOCK = 512


class ImageError(SystemFaultError):
    """A tool's image cannot be had."""

    code = "system_fault.image"


@dataclass(frozen=True)
class Descriptor:
    """One blob of an image."""

    digest: str
    size: int
    media_type: str

    def as_json(self) -> dict[str, Any]:
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size}


@dataclass(frozen=True)
class Image:
    """One image for one kind of machine; ``content`` is its manifest, byte for byte."""

    content: bytes
    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]

    @property
    def digest(self) -> str:
        return digest_of(self.content)

    @property
    def blobs(self) -> tuple[Descriptor, ...]:
        return (self.config, *self.layers)

    @property
    def size(self) -> int:
        """Bytes of all its blobs."""
        return sum(blob.size for blob in self.blobs)


def digest_of(content: bytes) -> str:
    """``sha256:`` and the hash of these bytes."""
    return "sha256:" + hashlib.sha256(content).hexdigest()


def read_image(content: bytes) -> Image:
    """The image that a manifest describes. Raises :class:`UnreadableError` if it is none."""
    try:
        manifest = json.loads(content)
        media_type = manifest.get("mediaType", OCI_MANIFEST)
        config, layers = _descriptor(manifest["config"]), tuple(map(_descriptor, manifest["layers"]))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UnreadableError(f"not the manifest of an image: {error!r}") from error
    return Image(content, media_type, config, layers)


def _descriptor(value: Any) -> Descriptor:
    found = Descriptor(str(value["digest"]), int(value["size"]), str(value["mediaType"]))
    check_digest(found.digest)
    return found


def check_digest(digest: str) -> None:
    """Raises ValueError unless it is ``sha256:`` and 64 digits: it becomes a file's name."""
    kind, _, digits = digest.partition(":")
    if kind != "sha256" or len(digits) != 64 or set(digits) - set("0123456789abcdef"):
        raise ValueError(f"{digest!r} is no sha256 digest")


class Blobs:
    """A folder of blobs, each with its sha256 as name; several processes may use it at once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, digest: str) -> Path:
        check_digest(digest)
        return self.folder / digest.replace(":", "-")

    def has(self, blob: Descriptor) -> bool:
        return self.path(blob.digest).exists()

    @contextmanager
    def partial(self, digest: str) -> Iterator[Path]:
        """Where a blob is written until it is whole, for one writer at a time; what is there may be gone on with.

        The wait for another writer blocks its thread (:func:`fedproc.common.locks.file_locked`).
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        place = self.path(digest)
        with file_locked(place.with_name(f"{place.name}.lock")):
            yield place.with_name(f"{place.name}.part")

    def finish(self, digest: str, partial: Path) -> None:
        """Take a written blob in. Raises :class:`UnreadableError`, and throws it away, if its sha256 is another."""
        found = f"sha256:{sha256_of(partial)}"
        if found != digest:
            partial.unlink()
            raise UnreadableError(
                f"what came as {digest} has the digest {found}: it was changed on its way, or in the registry"
            )
        place = self.path(digest)
        partial.rename(place)
        place.with_name(f"{place.name}.lock").unlink(missing_ok=True)

    def add(self, content: bytes) -> str:
        """Take bytes in; returns their digest."""
        digest = digest_of(content)
        with self.partial(digest) as partial:
            partial.write_bytes(content)
            self.finish(digest, partial)
        return digest

    def read(self, digest: str) -> bytes | None:
        """A small blob's bytes, None if it is not here. Raises :class:`UnreadableError` if it was changed."""
        try:
            content = self.path(digest).read_bytes()
        except FileNotFoundError:
            return None
        if digest_of(content) != digest:
            raise UnreadableError(f"{self.path(digest)} was changed: remove it")
        return content

    def trim(self, most: int) -> None:
        """Remove the blobs that were longest not used, until those that stay have ``most`` bytes at most."""
        found = [(path, path.stat()) for path in self.folder.glob("sha256-" + "?" * 64)]
        for path, entry in sorted(found, key=lambda one: one[1].st_mtime, reverse=True):
            most -= entry.st_size
            if most < 0:
                path.unlink(missing_ok=True)


def take_saved(archive: Path, blobs: Blobs) -> Image:
    """Take an image that an engine saved (``docker save``) into ``blobs``, layers compressed.

    Raises :class:`UnreadableError` if it is not one image as Docker saves it.
    """
    try:
        with tarfile.open(archive) as saved:
            entries = json.loads(_member(saved, "manifest.json").read())
            if len(entries) != 1:
                raise UnreadableError(f"{archive} holds {len(entries)} images, not one")
            content = _member(saved, entries[0]["Config"]).read()
            config = Descriptor(blobs.add(content), len(content), CONFIG)
            layers = [_take_layer(_member(saved, name), blobs) for name in entries[0]["Layers"]]
    except (tarfile.TarError, ValueError, KeyError, TypeError) as error:
        raise UnreadableError(f"{archive} is no image as Docker saves it: {error!r}") from error
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": config.as_json(),
        "layers": [layer.as_json() for layer in layers],
    }
    return read_image(json.dumps(manifest, separators=(",", ":")).encode())


def _member(archive: tarfile.TarFile, name: str) -> IO[bytes]:
    content = archive.extractfile(name)  # follows links inside the archive, which older engines put there
    if content is None:
        raise UnreadableError(f"{name} in the saved image is no file")
    return content


def _take_layer(content: IO[bytes], blobs: Blobs) -> Descriptor:
    blobs.folder.mkdir(parents=True, exist_ok=True)
    kind = _COMPRESSED.get(content.read(2))
    content.seek(0)
    handle, name = tempfile.mkstemp(dir=blobs.folder, prefix=".layer-")
    written = Path(name)
    try:
        with os.fdopen(handle, "wb") as target:
            _copy(content, target) if kind else _compress(content, target)
        digest = f"sha256:{sha256_of(written)}"
        size = written.stat().st_size
        written.rename(blobs.path(digest))
    finally:
        written.unlink(missing_ok=True)
    return Descriptor(digest, size, _LAYER + (kind or "+gzip"))


def _compress(content: IO[bytes], target: IO[bytes]) -> None:
    with gzip.GzipFile(fileobj=target, mode="wb", compresslevel=6, mtime=0, filename="") as packed:
        _copy(content, packed)


def _copy(content: IO[bytes], target: Any) -> None:
    while piece := content.read(_PIECE):
        target.write(piece)


def for_engine(image: Image, blobs: Blobs, name: str) -> Iterator[bytes]:
    """The image as a tar that every engine loads: an OCI layout, with what older ones of Docker read beside it."""
    index = {
        "schemaVersion": 2,
        "mediaType": INDEXES[0],
        "manifests": [
            {
                "mediaType": image.media_type,
                "digest": image.digest,
                "size": len(image.content),
                "annotations": {
                    "io.containerd.image.name": name,
                    "org.opencontainers.image.ref.name": name.rpartition(":")[2],
                },
            }
        ],
    }
    docker = [{"Config": _inside(image.config.digest), "RepoTags": [name],
               "Layers": [_inside(layer.digest) for layer in image.layers]}]  # fmt: skip
    yield from _entry("oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
    yield from _entry("index.json", json.dumps(index).encode())
    yield from _entry(_inside(image.digest), image.content)
    for blob in {each.digest: each for each in image.blobs}.values():
        yield from file_entry(_inside(blob.digest), blobs.path(blob.digest))
    yield from _entry("manifest.json", json.dumps(docker).encode())
    yield b"\0" * (2 * _TAR_BLOCK)


def _inside(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/")


def _entry(name: str, content: bytes) -> Iterator[bytes]:
    yield _head(name, len(content)) + content + _padding(len(content))


def file_entry(name: str, path: Path) -> Iterator[bytes]:
    """One file as a tar has it, piece by piece."""
    size = path.stat().st_size
    yield _head(name, size)
    with path.open("rb") as content:
        while piece := content.read(_PIECE):
            yield piece
    yield _padding(size)


def _head(name: str, size: int) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = size, 0o644
    return entry.tobuf(tarfile.PAX_FORMAT)


def _padding(size: int) -> bytes:
    return b"\0" * (-size % _TAR_BLOCK)

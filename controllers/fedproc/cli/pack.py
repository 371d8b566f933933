"""Packing an archive of tools from what the catalogue and the store have."""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from fedproc.catalog.bundle import unpack
from fedproc.catalog.oci import Blobs
from fedproc.catalog.offline import MANIFEST, SOURCE, ArchiveWriter
from fedproc.catalog.registry import Registry, split
from fedproc.catalog.signing import tool_digest
from fedproc.catalog.wheels import fetch_wheels, lock_files
from fedproc.client.api import Client
from fedproc.common.errors import InvalidInputError
from fedproc.common.files import replacing
from fedproc.contract.tool.tool import Manifest

Say = Callable[[str], None]


def write_archive(
    client: Client, tools: Iterable[str], target: Path, store: Registry | None, pythons: Iterable[str], say: Say
) -> None:
    """Write an archive of these tools, which hosts verify themselves.

    Images go in if there is a ``store``, packages for each version of ``pythons``. Raises :class:`InvalidInputError`
    for an image of another store.
    """
    with (
        replacing(target) as partial,
        tempfile.TemporaryDirectory(dir=target.absolute().parent, prefix=".pack-") as folder,
    ):
        with ArchiveWriter(partial) as archive:
            packing = _Packing(client, archive, Path(folder), store, tuple(pythons))
            for name in tools:
                tool, _, version = name.partition("@")
                version = version or client.tool(tool).version
                say(f"packing {tool} {version}")
                packing.add(tool, version)
    say(f"packed {target}")


@dataclass
class _Packing:
    client: Client
    archive: ArchiveWriter
    work: Path
    store: Registry | None
    pythons: tuple[str, ...]

    def add(self, tool: str, version: str) -> None:
        signed, packed = self.client.manifest(tool, version), self.client.bundle(tool, version)
        manifest = _read(signed)
        home = tool_digest(manifest).replace(":", "-")
        for name, content in ((MANIFEST, signed.encode()), (SOURCE, packed)):
            place = self.work / "piece"
            place.write_bytes(content)
            self.archive.add(name.format(home), place)
        for image in sorted({task.runtime.image for task in manifest.tool.tasks if task.runtime.image}):
            if self.store is not None:
                self._image(image, self.store)
        if self.pythons:
            self._wheels(manifest, packed, self.work / home)

    def _image(self, reference: str, store: Registry) -> None:
        name, repository, digest = split(reference)
        if store.name != name:
            raise InvalidInputError(f"image {reference} is not of {store.name}: only what the store has can be packed")
        manifests, blobs = Blobs(self.work / "manifests"), Blobs(self.work / "blobs")
        image = store.image(repository, digest, manifests)
        store.fetch(repository, image, blobs)
        for each in sorted({digest, image.digest}):
            self.archive.add(f"manifests/{manifests.path(each).name}", manifests.path(each))
        for blob in image.blobs:
            self.archive.add(f"blobs/{blobs.path(blob.digest).name}", blobs.path(blob.digest))

    def _wheels(self, manifest: Manifest, packed: bytes, source: Path) -> None:
        unpack(packed, manifest, source)
        index = self.work / "index"
        fetch_wheels(lock_files(source, manifest), self.pythons, index)
        for wheel in sorted(index.glob("*/*.whl")):
            self.archive.add(f"wheels/{wheel.name}", wheel)


def _read(signed: str) -> Manifest:
    payload = signed.split(".")[1]
    return Manifest.model_validate_json(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))

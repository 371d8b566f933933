"""Tools' images built once, by the catalogue's side, and sent to the federation's registry."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import docker
import docker.errors
import requests

from fedproc.catalog.building import BUILD_SECONDS, build, image_id, image_name
from fedproc.catalog.bundle import pack, unpack
from fedproc.catalog.naming import to_build, with_images
from fedproc.catalog.oci import Blobs, ImageError, take_saved
from fedproc.catalog.registry import Registry
from fedproc.catalog.signing import tool_digest
from fedproc.contract.tool.tool import Manifest

_PIECE = 4 << 20
Say = Callable[[str], None]


def publish_images(
    folder: Path, manifest: Manifest, registry: Registry, engine: str, base: str | None, say: Say
) -> Manifest:
    """Build the images of a tool by the engine at ``engine``, send them to the registry, enter them into the manifest.

    Built is from exactly the files that the manifest names. Raises :class:`ImageError` with what failed.
    """
    wanted = to_build(manifest)
    if not wanted:
        return manifest
    try:
        client = docker.DockerClient(engine, version="auto", timeout=BUILD_SECONDS)
    except docker.errors.DockerException as error:
        raise ImageError(
            f"no container engine answers at {engine}, and {manifest.tool.id} is built in one: {error}"
        ) from error
    try:
        made = {name: _publish(client, folder, manifest, name, registry, base, say) for name in wanted}
    except (docker.errors.DockerException, requests.RequestException) as error:
        raise ImageError(f"image of {manifest.tool.id}: {error}") from error
    finally:
        client.close()
    return with_images(manifest, made)


def _publish(
    client: docker.DockerClient, folder: Path, manifest: Manifest, dockerfile: str, registry: Registry,
    base: str | None, say: Say,
) -> str:  # fmt: skip
    name = image_name(tool_digest(manifest), dockerfile, base)
    with tempfile.TemporaryDirectory(prefix="fedproc-image-") as work:
        if image_id(client, name) is None:
            say(f"building the image of {manifest.tool.id}")
            source = Path(work) / "source"
            unpack(pack(folder, manifest), manifest, source)
            build(client, source, dockerfile, name, base)
        say(f"sending the image of {manifest.tool.id} to {registry.name}")
        saved, blobs = Path(work) / "image.tar", Blobs(Path(work) / "blobs")
        with saved.open("wb") as target:
            for piece in client.images.get(name).save(chunk_size=_PIECE, named=True):
                target.write(piece)
        return registry.push(f"tools/{manifest.tool.id}", take_saved(saved, blobs), blobs)

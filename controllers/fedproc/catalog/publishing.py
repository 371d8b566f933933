"""Which image belongs to a tool: built once by the catalogue's side, and named by digest in the signed manifest.

docs/decisions/0005-images-built-once.md says why.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import docker
import docker.errors
import requests

from fedproc.catalog.building import BUILD_SECONDS, build, image_id, image_name
from fedproc.catalog.bundle import pack, unpack
from fedproc.catalog.oci import Blobs, ImageFault, take_saved
from fedproc.catalog.registry import Registry
from fedproc.catalog.signing import tool_digest
from fedproc.contract.tool import Manifest, Task

_PIECE = 4 << 20
Say = Callable[[str], None]


def to_build(manifest: Manifest) -> tuple[str, ...]:
    """The Dockerfiles of tasks that name no image."""
    return tuple(sorted({str(task.runtime.dockerfile) for task in manifest.tool.tasks if _is_built(task)}))


def with_images(manifest: Manifest, images: Mapping[str, str]) -> Manifest:
    """The manifest in which each task that is built from a Dockerfile names its image, by ``images``."""
    tasks = tuple(_with_image(task, images) for task in manifest.tool.tasks)
    return manifest.model_copy(update={"tool": manifest.tool.model_copy(update={"tasks": tasks})})


def _with_image(task: Task, images: Mapping[str, str]) -> Task:
    image = images.get(str(task.runtime.dockerfile)) if _is_built(task) else None
    if image is None:
        return task
    return task.model_copy(update={"runtime": task.runtime.model_copy(update={"image": image})})


def is_published_as(manifest: Manifest, published: Manifest) -> bool:
    """Whether ``published`` is this tool, and at most images were added to it."""
    images = {task.runtime.dockerfile: task.runtime.image for task in published.tool.tasks if task.runtime.image}
    known = {str(dockerfile): image for dockerfile, image in images.items() if dockerfile and image}
    return tool_digest(with_images(manifest, known)) == tool_digest(published)


def _is_built(task: Task) -> bool:
    return task.runtime.dockerfile is not None and task.runtime.image is None


def publish_images(
    folder: Path, manifest: Manifest, store: Registry, engine: str, base: str | None, say: Say
) -> Manifest:
    """Build the images of a tool by the engine at ``engine``, send them to the store, enter them into the manifest.

    Built is from exactly the files that the manifest names. Raises :class:`ImageFault` with what failed.
    """
    wanted = to_build(manifest)
    if not wanted:
        return manifest
    try:
        client = docker.DockerClient(engine, version="auto", timeout=BUILD_SECONDS)
    except docker.errors.DockerException as fault:
        raise ImageFault(
            f"no container engine answers at {engine}, and {manifest.tool.id} is built in one: {fault}"
        ) from fault
    try:
        made = {name: _publish(client, folder, manifest, name, store, base, say) for name in wanted}
    except (docker.errors.DockerException, requests.RequestException) as fault:
        raise ImageFault(f"image of {manifest.tool.id}: {fault}") from fault
    finally:
        client.close()
    return with_images(manifest, made)


def _publish(
    client: docker.DockerClient, folder: Path, manifest: Manifest, dockerfile: str, store: Registry, base: str | None,
    say: Say,
) -> str:  # fmt: skip
    name = image_name(tool_digest(manifest), dockerfile, base)
    with tempfile.TemporaryDirectory(prefix="fedproc-image-") as work:
        if image_id(client, name) is None:
            say(f"building the image of {manifest.tool.id}")
            source = Path(work) / "source"
            unpack(pack(folder, manifest), manifest, source)
            build(client, source, dockerfile, name, base)
        say(f"sending the image of {manifest.tool.id} to {store.name}")
        saved, blobs = Path(work) / "image.tar", Blobs(Path(work) / "blobs")
        with saved.open("wb") as target:
            for piece in client.images.get(name).save(chunk_size=_PIECE, named=True):
                target.write(piece)
        return store.push(f"tools/{manifest.tool.id}", take_saved(saved, blobs), blobs)

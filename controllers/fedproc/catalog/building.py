"""Tools' images, built by a container engine from their Dockerfiles."""

from __future__ import annotations

import hashlib
from pathlib import Path

import docker
import docker.errors

from fedproc.catalog.oci import ImageError

BUILD_SECONDS = 1800


def image_name(digest: str, dockerfile: str, base: str | None) -> str:
    """What an image is called that was built from a tool of this digest."""
    key = hashlib.sha256("\n".join((digest, dockerfile, base or "")).encode()).hexdigest()
    return f"fedproc/tool:{key[:32]}"


def build(client: docker.DockerClient, folder: Path, dockerfile: str, name: str, base: str | None) -> None:
    """Build ``folder/dockerfile`` on ``base``. Raises :class:`ImageError` with the last words of the build."""
    arguments = {"BASE_IMAGE": base} if base else {}
    try:
        client.images.build(
            path=str(folder), dockerfile=dockerfile, tag=name, buildargs=arguments, network_mode="host", rm=True,
            forcerm=True,
        )  # fmt: skip
    except docker.errors.BuildError as error:
        output = [str(step["stream"]).strip() for step in error.build_log if step.get("stream")]
        raise ImageError(f"the image cannot be built: {error.msg} / {' / '.join(output[-6:])}") from error


def image_id(client: docker.DockerClient, name: str) -> str | None:
    """The id of an image that the engine has, or None."""
    try:
        return client.images.get(name).id
    except docker.errors.ImageNotFound:
        return None

"""Images for the demo's Docker executor: a base made of Debian's packages, and the tools' own on top of it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import docker

from fedproc.catalog.base_image import BASE_IMAGE, Say, make_base_image
from fedproc.catalog.building import build, image_id, image_name
from fedproc.catalog.signing import tool_digest
from fedproc.contract.tool.tool import Manifest

__all__ = ["BASE_IMAGE", "make_base_image", "make_images"]


def make_images(tools: Iterable[tuple[Path, Manifest]], socket: Path, say: Say) -> str:
    """Make what is missing of the base image and of one image per Dockerfile of the tools; returns the base's name.

    Hosts that are given that name as ``docker.base_image`` find the tools' images made. Raises
    :class:`SystemFaultError` with the last words of what failed.
    """
    client = docker.DockerClient(f"unix://{socket}", version="auto", timeout=1800)
    try:
        make_base_image(client, say)
        for folder, manifest in tools:
            for dockerfile in sorted({t.runtime.dockerfile for t in manifest.tool.tasks if t.runtime.dockerfile}):
                name = image_name(tool_digest(manifest), dockerfile, BASE_IMAGE)
                if image_id(client, name) is None:
                    say(f"building the image of {manifest.tool.id}")
                    build(client, folder, dockerfile, name, BASE_IMAGE)
    finally:
        client.close()
    return BASE_IMAGE

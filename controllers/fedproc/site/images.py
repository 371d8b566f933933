"""Images for tools: one that is named by digest, or one built once from the tool's Dockerfile."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from pathlib import Path

import docker
import docker.errors
import requests

from fedproc.contract.errors import SystemFault
from fedproc.contract.tool import Task
from fedproc.site.executors.base import ENVIRONMENT
from fedproc.site.settings import DockerSettings
from fedproc.site.toolbox import Installed, Runtime

log = logging.getLogger(__name__)
_BUILD_SECONDS = 1800


class ImageFault(SystemFault):
    """A tool's image cannot be had."""

    code = "system_fault.image"


class Images:
    """Implements :class:`fedproc.site.toolbox.Runtimes` for the Docker executor."""

    def __init__(self, settings: DockerSettings) -> None:
        self._settings = settings
        self._ids: dict[str, str] = {}
        self._lock = asyncio.Lock()

    async def ready(self, installed: Installed, task: Task) -> Runtime:
        """The image of the task. Raises :class:`ImageFault` with the engine's last words."""
        runtime = task.runtime
        if runtime.image is None and runtime.dockerfile is None:
            raise ImageFault(
                f"task {task.name} has neither 'image' nor 'dockerfile', and this host's executor runs containers",
                code="system_fault.runtime",
            )
        base = self._settings.base_image
        name = runtime.image or image_name(installed.digest, str(runtime.dockerfile), base)
        async with self._lock:
            if name not in self._ids:
                self._ids[name] = await asyncio.to_thread(self._made, name, installed.source, runtime.dockerfile)
        return Runtime(self._ids[name], str(ENVIRONMENT / "bin" / "python"), f"image {name} {self._ids[name]}")

    def _made(self, name: str, source: Path, dockerfile: str | None) -> str:
        try:
            client = docker.DockerClient(self._settings.socket, version="auto", timeout=_BUILD_SECONDS)
        except docker.errors.DockerException as fault:
            raise ImageFault(f"the container engine does not answer at {self._settings.socket}: {fault}") from fault
        try:
            return image_id(client, name) or self._fetch(client, name, source, dockerfile)
        except (docker.errors.DockerException, requests.RequestException) as fault:
            raise ImageFault(f"image {name}: {fault}") from fault
        finally:
            client.close()

    def _fetch(self, client: docker.DockerClient, name: str, source: Path, dockerfile: str | None) -> str:
        if "@" in name:
            log.info("pulling image", extra={"image": name})
            client.images.pull(name)
        else:
            log.info("building image", extra={"image": name})
            build(client, source, str(dockerfile), name, self._settings.base_image)
        found = image_id(client, name)
        if found is None:
            raise ImageFault(f"image {name} is not there, though the engine said that it fetched it")
        return found


def image_name(digest: str, dockerfile: str, base: str | None) -> str:
    """What an image is called that was built from a tool of this digest."""
    key = hashlib.sha256("\n".join((digest, dockerfile, base or "")).encode()).hexdigest()
    return f"fedproc/tool:{key[:32]}"


def build(client: docker.DockerClient, folder: Path, dockerfile: str, name: str, base: str | None) -> None:
    """Build ``folder/dockerfile`` on ``base``. Raises :class:`ImageFault` with the last words of the build."""
    arguments = {"BASE_IMAGE": base} if base else {}
    try:
        client.images.build(
            path=str(folder), dockerfile=dockerfile, tag=name, buildargs=arguments, network_mode="host", rm=True,
            forcerm=True,
        )  # fmt: skip
    except docker.errors.BuildError as fault:
        said = [str(step["stream"]).strip() for step in fault.build_log if step.get("stream")]
        raise ImageFault(f"the image cannot be built: {fault.msg} / {' / '.join(said[-6:])}") from fault


def image_id(client: docker.DockerClient, name: str) -> str | None:
    """The id of an image that the engine has, or None."""
    try:
        return client.images.get(name).id
    except docker.errors.ImageNotFound:
        return None

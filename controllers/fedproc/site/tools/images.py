"""Images for tools: one that is named by digest, or one built once from the tool's Dockerfile."""

from __future__ import annotations

import asyncio
from pathlib import Path

import docker
import docker.errors
import requests

from fedproc.catalog.building import BUILD_SECONDS, build, image_id, image_name
from fedproc.catalog.oci import Image, ImageError
from fedproc.common.log import get_logger
from fedproc.common.tasks import SingleFlight, in_own_thread
from fedproc.contract.tool.task import Task
from fedproc.site.executors.base import ENVIRONMENT
from fedproc.site.settings import DockerSettings
from fedproc.site.tools.cache import InstalledTool, Runtime
from fedproc.site.tools.registry import SiteRegistry

log = get_logger(__name__)


class ImageRuntimes:
    """Implements :class:`fedproc.site.tools.cache.Runtimes` for the Docker executor."""

    def __init__(self, settings: DockerSettings, registry: SiteRegistry | None = None) -> None:
        self._settings = settings
        self._registry = registry
        self._ids: dict[str, str] = {}
        self._making = SingleFlight[str](keep=True)
        self._lock = asyncio.Lock()
        """one image is made at a time"""

    async def ready(self, installed: InstalledTool, task: Task) -> Runtime:
        """The image of the task. Raises :class:`ImageError` with what the engine or the registry says."""
        runtime = task.runtime
        if runtime.image is None and runtime.dockerfile is None:
            raise ImageError(
                f"task {task.name} has neither 'image' nor 'dockerfile', and this host's executor runs containers",
                code="system_fault.runtime",
            )
        base = self._settings.base_image
        name = runtime.image or image_name(installed.digest, str(runtime.dockerfile), base)
        if name not in self._ids:
            await self._making.do(name, lambda: self._make(name, installed.source, runtime.dockerfile))
        return Runtime(self._ids[name], str(ENVIRONMENT / "bin" / "python"), f"image {name} {self._ids[name]}")

    async def _make(self, name: str, source: Path, dockerfile: str | None) -> str:
        async with self._lock:
            self._ids[name] = await in_own_thread(self._made, name, source, dockerfile)
        return self._ids[name]

    def _made(self, name: str, source: Path, dockerfile: str | None) -> str:
        try:
            client = docker.DockerClient(self._settings.socket, version="auto", timeout=BUILD_SECONDS)
        except docker.errors.DockerException as error:
            raise ImageError(f"the container engine does not answer at {self._settings.socket}: {error}") from error
        try:
            if self._registry and self._registry.holds(name):
                return self._stored(client, self._registry, name)
            return image_id(client, name) or self._fetch(client, name, source, dockerfile)
        except (docker.errors.DockerException, requests.RequestException) as error:
            raise ImageError(f"image {name}: {error}") from error
        except OSError as error:
            raise ImageError(f"image {name}: {error.strerror} ({error.filename})") from error
        finally:
            client.close()

    def _stored(self, client: docker.DockerClient, registry: SiteRegistry, name: str) -> str:
        """The engine's id of an image of the registry; that id is a digest, which the signed one covers."""
        image = registry.image(name)
        found = _loaded(client, image)
        if found is None:
            log.info("image.fetching", image=name, bytes=image.size)
            registry.fetch(name, image)
            client.images.load(registry.image_tar(name, image))  # type: ignore[arg-type]  # any iterator of bytes
            found = _loaded(client, image)
            if found is None:
                raise ImageError(
                    f"image {name} is not there, though the engine loaded it: it made something else of it"
                )
            registry.trim()
        return found

    def _fetch(self, client: docker.DockerClient, name: str, source: Path, dockerfile: str | None) -> str:
        if "@" in name:
            self._pull(client, name)
        else:
            log.info("image.building", image=name)
            build(client, source, str(dockerfile), name, self._settings.base_image)
        found = image_id(client, name)
        if found is None:
            raise ImageError(f"image {name} is not there, though the engine said that it fetched it")
        return found

    def _pull(self, client: docker.DockerClient, name: str) -> None:
        """Have the engine pull it; a pull by digest gets those bytes or fails."""
        registry, _, rest = name.partition("/")
        place = self._settings.registries.get(registry)
        if place is None:
            raise ImageError(
                f"image {name} is not of the federation's registry: publish it there, put it on this host ahead, or "
                f"say in the settings where this host pulls images of {registry} from (docker.registries)"
            )
        log.info("image.pulling", image=name, source=place)
        client.images.pull(f"{place}/{rest}")


def _loaded(client: docker.DockerClient, image: Image) -> str | None:
    """Its id if the engine has it: most name an image by its configuration, newer ones by its manifest."""
    return image_id(client, image.config.digest) or image_id(client, image.digest)

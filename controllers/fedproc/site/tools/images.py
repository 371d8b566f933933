"""Images for tools: one that is named by digest, or one built once from the tool's Dockerfile."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import docker
import docker.errors
import requests

from fedproc.catalog.building import BUILD_SECONDS, build, image_id, image_name
from fedproc.catalog.oci import Image, ImageError
from fedproc.common.files import mark_used, write_atomically
from fedproc.common.log import get_logger
from fedproc.common.tasks import SingleFlight, in_own_thread
from fedproc.contract.tool.task import Task
from fedproc.site.executors.base import ENVIRONMENT
from fedproc.site.settings import DockerSettings
from fedproc.site.tools.cache import InstalledTool, Runtime, StoredRuntime
from fedproc.site.tools.registry import SiteRegistry, name_in_engine

log = get_logger(__name__)


class ImageRuntimes:
    """Implements :class:`fedproc.site.tools.cache.Runtimes` for the Docker executor.

    ``used`` is a folder of notes: which images this host has the engine keep, and when each was used last. Others of
    the engine are nobody's business here.
    """

    kind = "images"

    def __init__(
        self, settings: DockerSettings, registry: SiteRegistry | None = None, used: Path | None = None
    ) -> None:
        self._used = used
        self._settings = settings
        self._registry = registry
        self._ids: dict[str, str] = {}
        self._sizes: dict[str, int] = {}
        self._making = SingleFlight[str](keep=True)
        self._lock = asyncio.Lock()
        """one image is made at a time"""

    def lacks(self, task: Task) -> str:
        return "" if task.runtime.image or task.runtime.dockerfile else "has neither 'image' nor 'dockerfile'"

    async def ready(self, installed: InstalledTool, task: Task) -> Runtime:
        """The image of the task. Raises :class:`ImageError` with what the engine or the registry says."""
        runtime = task.runtime
        if reason := self.lacks(task):
            raise ImageError(f"task {task.name} {reason}", code="system_fault.runtime")
        name = self._name(installed, task)
        if name not in self._ids:
            await self._making.do(name, lambda: self._make(name, installed.source, runtime.dockerfile))
        self._note_used(name)
        return Runtime(self._ids[name], str(ENVIRONMENT / "bin" / "python"), f"image {name} {self._ids[name]}")

    def stored(self) -> list[StoredRuntime]:
        found = []
        for note in sorted(self._used.glob("*")) if self._used else ():
            with suppress(OSError, ValueError):
                name, _, size = note.read_text().partition("\n")
                if name and note == self._note(name):  # else it is being written, or was left half written
                    found.append(StoredRuntime(name, note.stat().st_mtime, size=int(size or 0)))
        return found

    def name_of(self, installed: InstalledTool, task: Task) -> str | None:
        has_one = task.runtime.image or task.runtime.dockerfile
        return self._name(installed, task) if has_one else None

    async def discard(self, name: str, before: float) -> bool:
        """See the protocol. An image that a container still has, of whomever, stays until the next time."""
        note = self._note(name)
        async with self._lock:
            if note is None or note.stat().st_mtime >= before:
                return False
            known = self._ids.pop(name, None)
            if known is not None and known in self._ids.values():
                note.unlink(missing_ok=True)  # another name's image, too, which may be in use
                return True
            if not await in_own_thread(self._removed, known or self._name_in_engine(name)):
                if known is not None:
                    self._ids[name] = known
                return False
            note.unlink(missing_ok=True)
        return True

    def _name(self, installed: InstalledTool, task: Task) -> str:
        runtime = task.runtime
        return runtime.image or image_name(installed.digest, str(runtime.dockerfile), self._settings.base_image)

    def _name_in_engine(self, name: str) -> str:
        return name_in_engine(name) if self._registry and self._registry.holds(name) else name

    def _note(self, name: str) -> Path | None:
        return self._used / hashlib.sha256(name.encode()).hexdigest() if self._used else None

    def _note_used(self, name: str) -> None:
        note = self._note(name)
        if note is None:
            return
        try:
            if not note.exists() or not note.stat().st_size:
                note.parent.mkdir(parents=True, exist_ok=True)
                write_atomically(note, f"{name}\n{self._sizes.get(name, 0)}".encode())
        except OSError as error:
            log.warning("image.not_noted", image=name, reason=str(error))
        mark_used(note)

    def _removed(self, reference: str) -> bool:
        with self._engine(reference) as client:
            try:
                client.images.remove(reference)
            except docker.errors.ImageNotFound:
                return True
            except docker.errors.APIError as error:
                log.info("image.stays", image=reference, reason=str(error.explanation or error))
                return False
            return True

    async def _make(self, name: str, source: Path, dockerfile: str | None) -> str:
        async with self._lock:
            self._ids[name] = await in_own_thread(self._made, name, source, dockerfile)
        return self._ids[name]

    def _made(self, name: str, source: Path, dockerfile: str | None) -> str:
        with self._engine(name) as client:
            if self._registry and self._registry.holds(name):
                found = self._stored(client, self._registry, name)
            else:
                found = image_id(client, name) or self._fetch(client, name, source, dockerfile)
            self._sizes[name] = int(client.images.get(found).attrs.get("Size") or 0)
            return found

    @contextmanager
    def _engine(self, name: str) -> Iterator[docker.DockerClient]:
        """For work on one image, whose name the errors have."""
        try:
            client = docker.DockerClient(self._settings.socket, version="auto", timeout=BUILD_SECONDS)
        except docker.errors.DockerException as error:
            raise ImageError(f"the container engine does not answer at {self._settings.socket}: {error}") from error
        try:
            yield client
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

"""Images of the federation's registry as folders of this host, unpacked once and kept by their digest."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import shutil
import sys
import time
from asyncio.subprocess import PIPE
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from fedproc.catalog.oci import Image, ImageError
from fedproc.common.files import mark_used
from fedproc.common.locks import async_file_locked
from fedproc.common.log import get_logger
from fedproc.common.tasks import SingleFlight, in_own_thread
from fedproc.contract.tool.task import Task
from fedproc.site.executors.base import ENVIRONMENT
from fedproc.site.executors.image_root import DESCRIPTION
from fedproc.site.tools.cache import InstalledTool, Runtime, StoredRuntime
from fedproc.site.tools.image_roots.tree import remove_tree
from fedproc.site.tools.image_roots.unpacking import Order
from fedproc.site.tools.registry import SiteRegistry

log = get_logger(__name__)
_SECONDS = 3600
_RESERVE = 1 << 30
"""bytes of the disk that no image gets"""
_LOST_SECONDS = 86400.0
"""after which nobody is unpacking any more"""


class ImageRoots:
    """Implements :class:`fedproc.site.tools.cache.Runtimes` for the sandbox, beside its environments.

    ``folder`` has one folder for each image, which appears in one step; ``most`` is what one may unpack to, in bytes.
    """

    kind = "unpacked_images"

    def __init__(self, folder: Path, registry: SiteRegistry | None, most: int) -> None:
        self._folder = folder
        self._registry = registry
        self._most = most
        self._making = SingleFlight[None]()
        self._lock = asyncio.Lock()
        """one image is made at a time: what is kept of the fetched ones is trimmed when it is there"""

    def lacks(self, task: Task) -> str:
        """Why a task cannot run in an image here; empty if it can."""
        image = task.runtime.image
        if image is None:
            return "has no 'image' that is named by digest"
        if task.resources.gpu is not None:
            return "needs a GPU, whose driver a sandbox cannot give to an image: an engine can (docker, podman)"
        if self._registry is None or not self._registry.holds(image):
            return f"has image {image}, which is not of the federation's registry: publish it there"
        return ""

    async def ready(self, installed: InstalledTool, task: Task) -> Runtime:
        """The folder of the task's image. Raises :class:`ImageError` if it cannot be fetched or unpacked."""
        name = str(task.runtime.image)
        if reason := self.lacks(task):
            raise ImageError(f"task {task.name} {reason}", code="system_fault.runtime")
        place = self._place(name)
        if not (place / DESCRIPTION).exists():
            await self._making.do(place.name, lambda: self._make(name, place))
        mark_used(place / DESCRIPTION)
        return Runtime(str(place), str(ENVIRONMENT / "bin" / "python"), f"image {name} unpacked at {place.name}")

    def stored(self) -> list[StoredRuntime]:
        found = []
        for described in sorted(self._folder.glob("sha256-" + "?" * 64 + f"/{DESCRIPTION}")):
            with suppress(OSError):
                found.append(StoredRuntime(described.parent.name, described.stat().st_mtime, described.parent))
        return found

    def name_of(self, installed: InstalledTool, task: Task) -> str | None:
        return None if self.lacks(task) else self._place(str(task.runtime.image)).name

    async def discard(self, name: str, before: float) -> bool:
        """See the protocol; what lost programs left half goes with it."""
        place, away = self._folder / name, self._partial(name)
        async with async_file_locked(self._lock_of(name)):
            await in_own_thread(self._sweep, name)
            if (place / DESCRIPTION).stat().st_mtime >= before:
                return False
            place.rename(away)
            await in_own_thread(remove_tree, away)
            self._lock_of(name).unlink(missing_ok=True)
        return True

    def _place(self, reference: str) -> Path:
        return self._folder / reference.rpartition("@")[2].replace(":", "-")

    def _partial(self, name: str) -> Path:
        """A folder of one attempt: whoever still writes into that of a lost one damages nothing."""
        return self._folder / f"{name}.{secrets.token_hex(4)}.part"

    def _lock_of(self, name: str) -> Path:
        return self._folder / f"{name}.lock"

    async def _make(self, name: str, place: Path) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        async with self._lock, async_file_locked(self._lock_of(place.name)):
            if (place / DESCRIPTION).exists():
                return
            await in_own_thread(self._sweep, place.name)
            partial = self._partial(place.name)
            image, registry = await in_own_thread(self._fetched, name)
            size = await self._unpacked(name, image, registry, partial)
            partial.rename(place)
            await in_own_thread(registry.trim)
        log.info("image.unpacked", image=name, bytes=size)

    def _fetched(self, name: str) -> tuple[Image, SiteRegistry]:
        assert self._registry is not None
        image = self._registry.image(name)
        log.info("image.fetching", image=name, bytes=image.size)
        self._registry.fetch(name, image)
        return image, self._registry

    async def _unpacked(self, name: str, image: Image, registry: SiteRegistry, partial: Path) -> int:
        """Have it unpacked by a program of its own. Returns the bytes of its files."""
        room = max(0, min(self._most, shutil.disk_usage(self._folder).free - _RESERVE))
        order = Order(image.content.decode(), str(registry.blobs.folder), str(partial), room, os.getpid())
        log.info("image.unpacking", image=name, layers=len(image.layers), room=room)
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "fedproc.site.tools.image_roots.unpacking", stdin=PIPE, stdout=PIPE, stderr=PIPE
        )
        try:
            async with asyncio.timeout(_SECONDS):
                output, errors = await child.communicate(json.dumps(asdict(order)).encode())
        except TimeoutError as error:
            raise ImageError(f"image {name} was not unpacked within {_SECONDS} s") from error
        finally:
            if child.returncode is None:
                child.kill()
                await child.wait()
        try:
            answer = json.loads(output)
        except ValueError as error:
            complaint = errors.decode(errors="replace").strip()[-500:]
            raise ImageError(f"image {name}: what unpacks it ended ({child.returncode}): {complaint}") from error
        if "fault" in answer:
            raise ImageError(f"image {name}: {answer['fault']}")
        return int(answer["bytes"])

    def _sweep(self, name: str) -> None:
        """Remove what lost programs left half: of the image ``name``, whose lock is held, all; of others what is old.

        What cannot be removed is told, and ends nothing else.
        """
        for partial in self._folder.glob("sha256-*.part"):
            try:
                if partial.name.startswith(name) or partial.stat().st_mtime < time.time() - _LOST_SECONDS:
                    remove_tree(partial)
            except OSError as error:
                log.warning("image.leftover_stays", folder=str(partial), reason=str(error))

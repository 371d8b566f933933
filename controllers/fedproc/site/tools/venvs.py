"""Virtual environments for tools, built once from a hash-locked requirements file and kept by what they are of."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE, STDOUT
from contextlib import suppress
from pathlib import Path

from fedproc.catalog.wheels import lists_something
from fedproc.common.errors import SystemFaultError
from fedproc.common.files import mark_used
from fedproc.common.locks import async_file_locked
from fedproc.common.log import get_logger
from fedproc.common.tasks import SingleFlight, in_own_thread
from fedproc.contract.tool.task import Task
from fedproc.site.executors.base import ENVIRONMENT
from fedproc.site.tools.cache import InstalledTool, Runtime, StoredRuntime
from fedproc.site.tools.registry import SiteRegistry

log = get_logger(__name__)
_BUILD_SECONDS = 1800
_LONGEST_JOB = 31 * 86400.0
"""seconds that no job runs longer than, with all of its steps' waits"""


class EnvironmentBuildError(SystemFaultError):
    """A tool's environment cannot be built."""

    code = "system_fault.environment"


class VenvRuntimes:
    """Implements :class:`fedproc.site.tools.cache.Runtimes` for the sandbox.

    ``folder`` may be ``shared`` by several hosts of one machine, whose users may differ if all of them may write there:
    a build holds a lock, and appears in one step; each says for itself what it uses, and removes what it has built.
    """

    kind = "environments"

    def __init__(
        self,
        folder: Path,
        python: Path,
        pip_arguments: tuple[str, ...] = (),
        registry: SiteRegistry | None = None,
        *,
        shared: bool = False,
    ) -> None:
        self._shared = shared
        self._folder = folder
        self._python = python
        self._pip_arguments = pip_arguments
        self._registry = registry
        self._keys: dict[Path, str] = {}
        self._builds = SingleFlight[None]()

    def lacks(self, task: Task) -> str:
        return "" if task.runtime.requirements else "has no 'requirements' for an environment"

    async def ready(self, installed: InstalledTool, task: Task) -> Runtime:
        """The environment of the task's requirements. Raises :class:`EnvironmentBuildError` with what pip says."""
        name = task.runtime.requirements
        if name is None:
            raise EnvironmentBuildError(
                f"task {task.name} {self.lacks(task)}",
                code="system_fault.runtime",
            )
        requirements = installed.source / name
        key = self._keys.get(requirements)  # a tool's source stays as it is
        if key is None or not (self._folder / key / "complete").exists():
            key = self._keys[requirements] = await self._built(requirements)
        place = self._folder / key
        self._mark_used(key)
        return Runtime(str(place), str(ENVIRONMENT / "bin" / "python"), f"venv sha256:{key}")

    def stored(self) -> list[StoredRuntime]:
        found = []
        for complete in sorted(self._folder.glob("?" * 64 + "/complete")):
            with suppress(OSError):
                found.append(StoredRuntime(complete.parent.name, self._used(complete.parent), complete.parent))
        return found

    def name_of(self, installed: InstalledTool, task: Task) -> str | None:
        name = task.runtime.requirements
        if name is None:
            return None
        try:
            return self._key((installed.source / name).read_bytes())
        except OSError:
            return None

    async def discard(self, name: str, before: float) -> bool:
        """See the protocol. Of a shared folder none goes that a job of another host may run in, or that another user
        has made.
        """
        place, away = self._folder / name, self._partial(name)
        limit = min(before, time.time() - _LONGEST_JOB) if self._shared else before
        async with async_file_locked(self._folder / f"{name}.lock"):
            await asyncio.to_thread(shutil.rmtree, away, ignore_errors=True)
            if self._used(place) >= limit or os.geteuid() not in (0, place.stat().st_uid):
                return False
            place.rename(away)
            await asyncio.to_thread(shutil.rmtree, away)
            for beside in (f"{name}.lock", *(mark.name for mark in self._marks(name))):
                with suppress(PermissionError):  # in a folder where each may remove what is its own alone
                    (self._folder / beside).unlink(missing_ok=True)
        return True

    def _mark_used(self, name: str) -> None:
        """Who may not change another user's mark has one of its own."""
        mark = self._folder / f"{name}.used-{os.geteuid()}"
        with suppress(OSError):
            if self._shared and not mark.exists():
                mark.touch(0o644)
        mark_used(mark if self._shared else self._folder / name / "complete")

    def _used(self, place: Path) -> float:
        """When it was used last, by whomever. Raises OSError."""
        return max(mark.stat().st_mtime for mark in (place / "complete", *self._marks(place.name)))

    def _marks(self, name: str) -> list[Path]:
        return list(self._folder.glob(f"{name}.used-*")) if self._shared else []

    def _partial(self, name: str) -> Path:
        """Nobody can remove what another user has left half."""
        return self._folder / f"{name}.{os.geteuid()}.part"

    def _key(self, requirements: bytes) -> str:
        return hashlib.sha256(requirements + str(self._python).encode()).hexdigest()

    async def _built(self, requirements: Path) -> str:
        content = await asyncio.to_thread(requirements.read_bytes)
        key = self._key(content)
        if not (self._folder / key / "complete").exists():
            await self._builds.do(key, lambda: self._build(self._folder / key, requirements, content))
        return key

    async def _build(self, place: Path, requirements: Path, content: bytes) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        async with async_file_locked(self._folder / f"{place.name}.lock"):
            if (place / "complete").exists():
                return
            partial = self._partial(place.name)
            await asyncio.to_thread(shutil.rmtree, partial, ignore_errors=True)
            log.info("venv.building", requirements=requirements.name, environment=place.name)
            await self._run(str(self._python), "-m", "venv", "--without-pip", str(partial))
            if lists_something(content):
                await self._install(partial, requirements)
            (partial / "complete").touch()
            await asyncio.to_thread(partial.rename, place)

    async def _install(self, place: Path, requirements: Path) -> None:
        index = {} if self._registry is None or self._pip_arguments else await in_own_thread(self._registry.index)
        await self._run(
            sys.executable, "-m", "pip", "--python", str(place / "bin" / "python"), "install",
            "--quiet", "--disable-pip-version-check", "--no-input", "--require-hashes", "--only-binary", ":all:",
            *self._pip_arguments, "-r", str(requirements), **index,
        )  # fmt: skip

    async def _run(self, *command: str, **variables: str) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("FEDPROC_")} | variables
        process = await asyncio.create_subprocess_exec(*command, stdin=DEVNULL, stdout=PIPE, stderr=STDOUT, env=kept)
        try:
            async with asyncio.timeout(_BUILD_SECONDS):
                output, _ = await process.communicate()
        except (TimeoutError, asyncio.CancelledError):
            process.kill()
            await process.wait()
            raise
        if process.returncode != 0:
            lines = output.decode(errors="replace").strip().splitlines()
            raise EnvironmentBuildError(f"the tool's environment cannot be built: {' / '.join(lines[-4:])}")

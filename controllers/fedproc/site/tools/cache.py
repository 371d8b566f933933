"""The tools that this host has fetched: manifests verified, sources unpacked, environments built."""

from __future__ import annotations

import asyncio
import os
import shutil
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from joserfc.jwk import ECKey

from fedproc.catalog.bundle import unpack
from fedproc.catalog.signing import verify_manifest
from fedproc.common.errors import SystemFaultError, UnreadableError
from fedproc.common.files import mark_used
from fedproc.common.log import get_logger
from fedproc.contract.tool.task import Task
from fedproc.contract.tool.tool import Manifest, ToolRef
from fedproc.contract.wire.messages import ReadyTool
from fedproc.site.centre.api import OnWait, Transfer

log = get_logger(__name__)

OnInstall = Callable[["InstalledTool", OnWait], Awaitable[None]]

_LOST_SECONDS = 86400.0
"""after which nobody is unpacking any more"""


@dataclass(frozen=True)
class InstalledTool:
    """One tool version on this host: its verified manifest and its read-only source."""

    manifest: Manifest
    source: Path
    digest: str


@dataclass(frozen=True)
class Runtime:
    """What a task runs in: a reference for the executor, the interpreter inside, and a name for reports."""

    reference: str
    python: str
    label: str
    executor: str = ""
    """which of the host's runs it"""


@dataclass(frozen=True)
class StoredTool:
    """One tool version that is kept; ``used`` is when last (seconds since 1970). No manifest: nobody trusts it now."""

    digest: str
    home: Path
    used: float
    manifest: Manifest | None

    @property
    def installed(self) -> InstalledTool | None:
        return InstalledTool(self.manifest, self.home / "source", self.digest) if self.manifest else None


@dataclass(frozen=True)
class StoredRuntime:
    """What a task runs in and is kept: its name, when it was used last, and where it lies, or its bytes."""

    name: str
    used: float
    place: Path | None = None
    size: int = 0


class Runtimes(Protocol):
    """Makes what a task runs in ready on this host; one per executor."""

    kind: str
    """environments, or images"""

    def lacks(self, task: Task) -> str:
        """Why a task cannot run in these, as a clause without its subject; empty if it can."""
        ...

    async def ready(self, installed: InstalledTool, task: Task) -> Runtime:
        """Build or find it. Raises :class:`SystemFaultError` if it cannot be had."""
        ...

    def stored(self) -> list[StoredRuntime]:
        """All that were made ready here and are kept; blocks."""
        ...

    def name_of(self, installed: InstalledTool, task: Task) -> str | None:
        """What a task's runtime is kept as; None if it has none for this executor. Blocks."""
        ...

    async def discard(self, name: str, before: float) -> bool:
        """Remove one unless it was used since ``before``; says whether it is gone."""
        ...


class ToolCache:
    """Fetches a tool once and keeps it by its digest."""

    def __init__(self, folder: Path, keys: dict[str, ECKey], transfer: Transfer) -> None:
        self._folder = folder
        self._keys = keys
        self._transfer = transfer
        self._locks: dict[str, asyncio.Lock] = {}
        self.on_install: OnInstall | None = None
        """is awaited before a tool that was not here is unpacked; what it raises keeps the tool out"""
        self._known: dict[str, InstalledTool] = {}
        self._seen: dict[str, tuple[str, str, str]] = {}
        self._noted: dict[tuple[str, str], str] = {}

    async def get(self, tool: ToolRef, on_wait: OnWait) -> InstalledTool:
        """The tool of exactly this digest, signed by the catalogue.

        Raises :class:`fedproc.common.errors.UnreadableError` or :class:`SystemFaultError` if what comes is something
        else.
        """
        async with self._locks.setdefault(tool.digest, asyncio.Lock()):
            if tool.digest not in self._known:
                self._known[tool.digest] = await self._install(tool, on_wait)
            mark_used(self._home(tool.digest) / "manifest.jws")
            return self._known[tool.digest]

    def has(self, digest: str) -> bool:
        """Whether the tool of this digest is here."""
        return (self._home(digest) / "manifest.jws").exists()

    async def announce(self, installed: InstalledTool, on_wait: OnWait) -> None:
        """A tool that was not here comes now."""
        if self.on_install is not None:
            await self.on_install(installed, on_wait)

    def ingest(self, signed: str, packed: bytes) -> None:
        """Take in a tool that came another way.

        Raises :class:`UnreadableError` unless the catalogue signed all of it.
        """
        manifest, digest = verify_manifest(signed, self._keys)
        _unpack_into(self._home(digest), signed, packed, manifest)

    def note_ready(self, installed: InstalledTool, task: str, label: str) -> bool:
        """Write down what a task runs in, now that it is here; False if that was known."""
        if self._noted.get((installed.digest, task)) == label:
            return False
        notes = self._home(installed.digest) / "ready"
        place = notes / task
        known = place.exists() and place.read_text(errors="replace") == label
        if not known:
            notes.mkdir(exist_ok=True)
            partial = notes / f".{task}.{_own_name()}"
            partial.write_text(label)
            partial.rename(place)
        self._noted[installed.digest, task] = label
        return not known

    def note_gone(self, runtime: str) -> None:
        """What tasks run in has gone, by a name in its label: they are not ready here any more."""
        for place in self._folder.glob("sha256-*/ready/*"):
            with suppress(OSError):
                if runtime in place.read_text(errors="replace"):
                    place.unlink()
        self._noted = {key: label for key, label in self._noted.items() if runtime not in label}

    def stored(self) -> list[StoredTool]:
        """All versions that are kept; blocks."""
        found = []
        for signed in sorted(self._folder.glob("sha256-*/manifest.jws")):
            digest = signed.parent.name.replace("-", ":", 1)
            if "." not in digest:  # else it is only being unpacked
                with suppress(OSError):
                    found.append(StoredTool(digest, signed.parent, signed.stat().st_mtime, self._trusted(signed)))
        return found

    def _trusted(self, signed: Path) -> Manifest | None:
        try:
            return verify_manifest(signed.read_text(), self._keys)[0]
        except (UnreadableError, UnicodeDecodeError):
            return None

    async def discard(self, digest: str, before: float) -> bool:
        """Remove a version unless it was used since ``before``; says whether it is gone. A job may fetch it again."""
        async with self._locks.setdefault(digest, asyncio.Lock()):
            home = self._home(digest)
            if (home / "manifest.jws").stat().st_mtime >= before:
                return False
            away = home.with_name(f"{home.name}.{_own_name()}")
            home.rename(away)
            self._known.pop(digest, None)
            self._seen.pop(home.name, None)
            self._noted = {key: label for key, label in self._noted.items() if key[0] != digest}
        await asyncio.to_thread(shutil.rmtree, away)
        return True

    def sweep(self, now: float) -> int:
        """Remove what programs left that were lost while they unpacked, or removed; says how many. Blocks.

        One that cannot be removed is told, and keeps no other.
        """
        return sum(_is_swept(path, now - _LOST_SECONDS) for path in self._folder.glob("sha256-*.*"))

    def ready(self) -> tuple[ReadyTool, ...]:
        """What was made ready here, ahead of need or for a job, of tools that are still trusted."""
        found = (self._ready(notes) for notes in sorted(self._folder.glob("sha256-*/ready")))
        return tuple(tool for tool in found if tool is not None)

    def _ready(self, notes: Path) -> ReadyTool | None:
        home = notes.parent
        try:
            if home.name not in self._seen:
                manifest, digest = verify_manifest((home / "manifest.jws").read_text(errors="replace"), self._keys)
                self._seen[home.name] = (manifest.tool.id, manifest.tool.version, digest)
            tasks = sorted(place.name for place in notes.iterdir() if not place.name.startswith("."))
        except (UnreadableError, OSError) as error:
            log.warning("tool.not_ready", folder=str(home), reason=str(error))
            return None
        tool, version, digest = self._seen[home.name]
        return ReadyTool(id=tool, version=version, digest=digest, tasks=tuple(tasks))

    def _home(self, digest: str) -> Path:
        return self._folder / digest.replace(":", "-")

    async def _install(self, tool: ToolRef, on_wait: OnWait) -> InstalledTool:
        home = self._home(tool.digest)
        signed = home / "manifest.jws"
        if await asyncio.to_thread(signed.exists):
            return self._verified(tool, await asyncio.to_thread(signed.read_text, None, "replace"), home)
        text = await self._transfer.manifest(tool, on_wait)
        installed = self._verified(tool, text, home)
        bundle = await self._transfer.bundle(tool, on_wait)
        await self.announce(installed, on_wait)
        await asyncio.to_thread(_unpack_into, home, text, bundle, installed.manifest)
        return installed

    def _verified(self, tool: ToolRef, text: str, home: Path) -> InstalledTool:
        manifest, digest = verify_manifest(text, self._keys)
        if digest != tool.digest:
            raise SystemFaultError(
                f"tool {tool.id}: the catalogue gave digest {digest}, ordered was {tool.digest}",
                code="system_fault.digest",
            )
        return InstalledTool(manifest, home / "source", digest)


def _is_swept(path: Path, limit: float) -> bool:
    try:
        if path.stat().st_mtime >= limit:
            return False
        shutil.rmtree(path)
    except OSError as error:
        log.error("tool.not_swept", folder=str(path), reason=str(error))
        return False
    return True


def _own_name() -> str:
    """No other program's, nor another thread's."""
    return f"{os.getpid()}-{threading.get_ident()}"


def _unpack_into(home: Path, signed: str, bundle: bytes, manifest: Manifest) -> None:
    """A home appears in one step, and stays; several programs may do this at once."""
    partial = home.with_name(f"{home.name}.{_own_name()}")
    if partial.exists():
        shutil.rmtree(partial)
    partial.mkdir(parents=True)
    unpack(bundle, manifest, partial / "source")
    (partial / "manifest.jws").write_text(signed)
    try:
        partial.rename(home)
    except OSError:
        if not (home / "manifest.jws").exists():
            raise
        shutil.rmtree(partial)  # another program was faster

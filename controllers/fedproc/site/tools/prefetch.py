"""``fedproc site tools fetch``: approved tools made ready on this host ahead of need, from the centre or an archive.

It is a program of its own, beside a running orchestrator: both find what the other has fetched.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import httpx

from fedproc.catalog.offline import Archive
from fedproc.catalog.signing import verify_manifest
from fedproc.common.errors import FedprocError, RefusedError, UnavailableError
from fedproc.common.keys import read_keys
from fedproc.common.tasks import in_own_thread
from fedproc.common.tls import client_context
from fedproc.contract.ids import version_key
from fedproc.contract.tool.task import Task
from fedproc.contract.tool.tool import Manifest, ToolRef
from fedproc.site.centre.api import Transfer
from fedproc.site.centre.egress import ProxyConnector
from fedproc.site.centre.identity import Identity
from fedproc.site.policy import policy_file
from fedproc.site.policy.policy_file import Policy
from fedproc.site.settings import SiteSettings
from fedproc.site.tlog.log import HostLog
from fedproc.site.tools.cache import InstalledTool, ToolCache
from fedproc.site.tools.choosing import NOT_OF_THIS_EXECUTOR, TaskRuntimes, make_runtimes
from fedproc.site.tools.logged import tool_installed
from fedproc.site.tools.registry import SiteRegistry, make_registry

_PATIENCE = 120.0
Notify = Callable[[str], None]


@dataclass(frozen=True)
class PrefetchResult:
    """One task of one tool: whether it is ready here, what it runs in or why it is not, and whether that is new."""

    tool: str
    version: str
    digest: str
    task: str
    ready: bool
    what: str
    changed: bool = False
    failed: bool = False
    """whether that is an error: a tool that was asked for is not to be had, or something broke"""

    def as_json(self) -> dict[str, Any]:
        values = asdict(self)
        values["fault"] = values.pop("failed")
        return values


def fetch(
    settings: SiteSettings, wanted: tuple[str, ...], archive: Path | None, notify: Notify
) -> list[PrefetchResult]:
    """Make the tools of these ids ready, or all that the site's policy admits and the catalogue has.

    Raises :class:`RefusedError` for a tool that the policy does not admit, and other :class:`FedprocError` where
    nothing can be had at all.
    """
    return asyncio.run(_fetch(settings, wanted, archive, notify))


async def _fetch(
    settings: SiteSettings, wanted: tuple[str, ...], archive: Path | None, notify: Notify
) -> list[PrefetchResult]:
    allowed = policy_file.load(settings.policy)
    _check_wanted(wanted, allowed)
    if archive is None:
        async with _from_centre(settings, notify) as source:
            return await _each(source, wanted, allowed, notify)
    with Archive(archive) as opened, tempfile.TemporaryDirectory(prefix="fedproc-wheels-") as wheels:
        opened.extract_wheels(Path(wheels))
        async with _from_archive(settings, opened, Path(wheels)) as source:
            return await _each(source, wanted, allowed, notify)


def _check_wanted(wanted: tuple[str, ...], allowed: Policy) -> None:
    admitted = {rule.id for rule in allowed.tools}
    for tool in wanted:
        if tool not in admitted:
            raise RefusedError(
                f"tool {tool!r} is not on this site's allow-list; add it to the policy, or leave it out",
                code="policy.tool_unknown",
            )


async def _each(source: _Source, wanted: tuple[str, ...], allowed: Policy, notify: Notify) -> list[PrefetchResult]:
    results: list[PrefetchResult] = []
    for tool, version in dict.fromkeys((rule.id, rule.digest) for rule in allowed.tools):
        if wanted and tool not in wanted:
            continue
        digest = await source.digest(tool, version)
        if digest is None:
            what = f"{source.name} has no such tool"
            results.append(PrefetchResult(tool, "-", version, "-", ready=False, what=what, failed=tool in wanted))
        else:
            notify(f"{tool} {digest}")
            results += await _tool(source, tool, digest)
    return results


async def _tool(source: _Source, tool: str, digest: str) -> list[PrefetchResult]:
    try:
        known = source.tool_cache.has(digest)
        installed = await source.installed(tool, digest)
    except FedprocError as error:
        return [PrefetchResult(tool, "-", digest, "-", ready=False, what=error.message, failed=True)]
    return [await _task(source, installed, task.name, new=not known) for task in installed.manifest.tool.tasks]


async def _task(source: _Source, installed: InstalledTool, name: str, *, new: bool) -> PrefetchResult:
    tool, task = installed.manifest.tool, installed.manifest.tool.task(name)
    result = PrefetchResult(tool.id, tool.version, installed.digest, name, ready=False, what="")
    try:
        await source.provide(task)
        runtime = await source.runtimes.ready(installed, task)
    except FedprocError as error:
        return replace(result, what=error.message, failed=error.code != NOT_OF_THIS_EXECUTOR)
    changed = source.tool_cache.note_ready(installed, name, runtime.label) or new
    return replace(result, ready=True, what=runtime.label, changed=changed)


@dataclass
class _Source:
    """Where tools come from: the centre."""

    tool_cache: ToolCache
    runtimes: TaskRuntimes
    transfer: Transfer
    on_wait: Callable[[str | None], None]
    name: ClassVar[str] = "the catalogue"

    async def digest(self, tool: str, digest: str) -> str | None:
        """The digest that the policy names, or the newest version's; None if there is none."""
        if digest != "*":
            return digest
        offered = await self.transfer.tools(self.on_wait)
        return next((entry.digest for entry in offered if entry.id == tool), None)

    async def installed(self, tool: str, digest: str) -> InstalledTool:
        return await self.tool_cache.get(ToolRef(id=tool, version="", digest=digest), self.on_wait)

    async def provide(self, task: Task) -> None:
        """Nothing: what makes runtimes ready fetches what it needs."""


@dataclass
class _ArchiveSource(_Source):
    """Where tools come from: an archive; ``offered`` are its verified manifests by digest, with their signed texts."""

    archive: Archive
    registry: SiteRegistry | None
    offered: dict[str, tuple[Manifest, str]]
    name: ClassVar[str] = "the archive"

    async def digest(self, tool: str, digest: str) -> str | None:
        there = [each for each, (manifest, _) in self.offered.items() if manifest.tool.id == tool]
        if digest == "*":
            return max(there, key=lambda each: version_key(self.offered[each][0].tool.version), default=None)
        return digest if digest in there else None

    async def installed(self, tool: str, digest: str) -> InstalledTool:
        if not self.tool_cache.has(digest):
            await self.tool_cache.announce(InstalledTool(self.offered[digest][0], Path(), digest), self.on_wait)
            await asyncio.to_thread(self.tool_cache.ingest, self.offered[digest][1], self.archive.source(digest))
        return await super().installed(tool, digest)

    async def provide(self, task: Task) -> None:
        if task.runtime.image and self.registry is not None and self.registry.holds(task.runtime.image):
            await in_own_thread(self.registry.ingest, task.runtime.image, self.archive)


@asynccontextmanager
async def _from_centre(settings: SiteSettings, notify: Notify) -> AsyncIterator[_Source]:
    async with _services(settings) as (tool_cache, transfer, registry):
        yield _Source(tool_cache, make_runtimes(settings, registry), transfer, _limited_wait(notify))


@asynccontextmanager
async def _from_archive(settings: SiteSettings, archive: Archive, wheels: Path) -> AsyncIterator[_Source]:
    keys = read_keys(settings.centre.catalogue_keys)
    offered: dict[str, tuple[Manifest, str]] = {}
    for signed in archive.manifests():
        manifest, digest = verify_manifest(signed, keys)
        offered[digest] = (manifest, signed)
    pip = settings.sandbox.model_copy(update={"pip_arguments": ("--no-index", "--find-links", str(wheels))})
    offline = settings.model_copy(update={"sandbox": pip})
    async with _services(offline) as (tool_cache, transfer, registry):
        yield _ArchiveSource(
            tool_cache, make_runtimes(offline, registry), transfer, _limited_wait(_silent), archive, registry, offered
        )


@asynccontextmanager
async def _services(settings: SiteSettings) -> AsyncIterator[tuple[ToolCache, Transfer, SiteRegistry | None]]:
    context, egress = client_context(settings.centre.ca_file), ProxyConnector.from_settings(settings.centre)
    async with egress.http_client(context, httpx.Timeout(30, connect=10)) as http:
        identity = Identity(settings, http)
        transfer = Transfer(settings.centre.api_url, identity, http)
        tool_cache = ToolCache(settings.state / "tools", read_keys(settings.centre.catalogue_keys), transfer)
        tool_cache.on_install = tool_installed(HostLog(settings.tlog_folder, settings.tlog_origin), patient=False)
        yield tool_cache, transfer, make_registry(settings, identity)


def _silent(_text: str) -> None:
    """Nothing is asked of the centre, so nothing is waited for."""


def _limited_wait(notify: Notify) -> Callable[[str | None], None]:
    """Waits for a centre that does not answer, but not for ever: somebody waits for this program."""
    until = time.monotonic() + _PATIENCE

    def on_wait(what: str | None) -> None:
        if what is None:
            return
        if time.monotonic() > until:
            raise UnavailableError(
                f"{what}: not reached within {_PATIENCE:.0f} s; can this host reach the centre's gateway?"
            )
        notify(f"waits for {what}")

    return on_wait

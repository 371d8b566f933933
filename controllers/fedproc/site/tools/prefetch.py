"""``fedproc site tools fetch``: approved tools made ready on this host ahead of need, from the centre or a bundle.

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

from fedproc.catalog import verify_manifest
from fedproc.catalog.folder import version_key
from fedproc.catalog.offline import Bundle
from fedproc.common.errors import FedprocError, RefusedError, UnavailableError
from fedproc.common.keys import read_keys
from fedproc.contract.tool.task import Task
from fedproc.contract.tool.tool import Manifest, ToolRef
from fedproc.site.centre.api import Transfer
from fedproc.site.centre.egress import ProxyConnector
from fedproc.site.centre.identity import Identity, tls_context
from fedproc.site.policy import rules
from fedproc.site.policy.rules import Policy
from fedproc.site.settings import SiteSettings
from fedproc.site.tools.cache import Installed, Runtimes, Toolbox
from fedproc.site.tools.registry import Store, make_store
from fedproc.site.tools.runtimes import make_runtimes

NOT_OF_THIS_EXECUTOR = "system_fault.runtime"
_PATIENCE = 120.0
Say = Callable[[str], None]


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
    fault: bool = False

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def fetch(settings: SiteSettings, wanted: tuple[str, ...], bundle: Path | None, say: Say) -> list[PrefetchResult]:
    """Make the tools of these ids ready, or all that the site's policy admits and the catalogue has.

    Raises :class:`RefusedError` for a tool that the policy does not admit, and other :class:`FedprocError` where
    nothing can be had at all.
    """
    return asyncio.run(_fetch(settings, wanted, bundle, say))


async def _fetch(
    settings: SiteSettings, wanted: tuple[str, ...], bundle: Path | None, say: Say
) -> list[PrefetchResult]:
    allowed = rules.load(settings.policy)
    _check_wanted(wanted, allowed)
    if bundle is None:
        async with _from_centre(settings, say) as source:
            return await _each(source, wanted, allowed, say)
    with Bundle(bundle) as opened, tempfile.TemporaryDirectory(prefix="fedproc-wheels-") as wheels:
        opened.take_wheels(Path(wheels))
        async with _from_bundle(settings, opened, Path(wheels)) as source:
            return await _each(source, wanted, allowed, say)


def _check_wanted(wanted: tuple[str, ...], allowed: Policy) -> None:
    admitted = {rule.id for rule in allowed.tools}
    for tool in wanted:
        if tool not in admitted:
            raise RefusedError(
                f"tool {tool!r} is not on this site's allow-list; add it to the policy, or leave it out",
                code="policy.tool_unknown",
            )


async def _each(source: _Source, wanted: tuple[str, ...], allowed: Policy, say: Say) -> list[PrefetchResult]:
    outcomes: list[PrefetchResult] = []
    for rule in allowed.tools:
        if wanted and rule.id not in wanted:
            continue
        digest = await source.digest(rule.id, rule.digest)
        if digest is None:
            what = f"{source.name} has no such tool"
            outcomes.append(
                PrefetchResult(rule.id, "-", rule.digest, "-", ready=False, what=what, fault=rule.id in wanted)
            )
        else:
            say(f"{rule.id} {digest}")
            outcomes += await _tool(source, rule.id, digest)
    return outcomes


async def _tool(source: _Source, tool: str, digest: str) -> list[PrefetchResult]:
    try:
        known = source.toolbox.has(digest)
        installed = await source.installed(tool, digest)
    except FedprocError as fault:
        return [PrefetchResult(tool, "-", digest, "-", ready=False, what=fault.message, fault=True)]
    return [await _task(source, installed, task.name, new=not known) for task in installed.manifest.tool.tasks]


async def _task(source: _Source, installed: Installed, name: str, *, new: bool) -> PrefetchResult:
    tool, task = installed.manifest.tool, installed.manifest.tool.task(name)
    outcome = PrefetchResult(tool.id, tool.version, installed.digest, name, ready=False, what="")
    try:
        await source.bring(task)
        runtime = await source.runtimes.ready(installed, task)
    except FedprocError as fault:
        return replace(outcome, what=fault.message, fault=fault.code != NOT_OF_THIS_EXECUTOR)
    changed = source.toolbox.note_ready(installed, name, runtime.label) or new
    return replace(outcome, ready=True, what=runtime.label, changed=changed)


@dataclass
class _Source:
    """Where tools come from: the centre."""

    toolbox: Toolbox
    runtimes: Runtimes
    transfer: Transfer
    waiting: Callable[[str | None], None]
    name: ClassVar[str] = "the catalogue"

    async def digest(self, tool: str, digest: str) -> str | None:
        """The digest that the policy names, or the newest version's; None if there is none."""
        if digest != "*":
            return digest
        offered = await self.transfer.tools(self.waiting)
        return next((entry.digest for entry in offered if entry.id == tool), None)

    async def installed(self, tool: str, digest: str) -> Installed:
        return await self.toolbox.get(ToolRef(id=tool, version="", digest=digest), self.waiting)

    async def bring(self, task: Task) -> None:
        """Nothing: what makes runtimes ready fetches what it needs."""


@dataclass
class _BundleSource(_Source):
    """Where tools come from: a bundle; ``offered`` are its verified manifests by digest, each with its signed text."""

    bundle: Bundle
    store: Store | None
    offered: dict[str, tuple[Manifest, str]]
    name: ClassVar[str] = "the bundle"

    async def digest(self, tool: str, digest: str) -> str | None:
        there = [each for each, (manifest, _) in self.offered.items() if manifest.tool.id == tool]
        if digest == "*":
            return max(there, key=lambda each: version_key(self.offered[each][0].tool.version), default=None)
        return digest if digest in there else None

    async def installed(self, tool: str, digest: str) -> Installed:
        if not self.toolbox.has(digest):
            await asyncio.to_thread(self.toolbox.take_in, self.offered[digest][1], self.bundle.source(digest))
        return await super().installed(tool, digest)

    async def bring(self, task: Task) -> None:
        if task.runtime.image and self.store is not None and self.store.holds(task.runtime.image):
            await asyncio.to_thread(self.store.take, task.runtime.image, self.bundle)


@asynccontextmanager
async def _from_centre(settings: SiteSettings, say: Say) -> AsyncIterator[_Source]:
    async with _services(settings) as (toolbox, transfer, store):
        yield _Source(toolbox, make_runtimes(settings, store), transfer, _patience(say))


@asynccontextmanager
async def _from_bundle(settings: SiteSettings, bundle: Bundle, wheels: Path) -> AsyncIterator[_Source]:
    keys = read_keys(settings.centre.catalogue_keys)
    offered: dict[str, tuple[Manifest, str]] = {}
    for signed in bundle.manifests():
        manifest, digest = verify_manifest(signed, keys)
        offered[digest] = (manifest, signed)
    pip = settings.sandbox.model_copy(update={"pip_arguments": ("--no-index", "--find-links", str(wheels))})
    offline = settings.model_copy(update={"sandbox": pip})
    async with _services(offline) as (toolbox, transfer, store):
        yield _BundleSource(
            toolbox, make_runtimes(offline, store), transfer, _patience(lambda _: None), bundle, store, offered
        )


@asynccontextmanager
async def _services(settings: SiteSettings) -> AsyncIterator[tuple[Toolbox, Transfer, Store | None]]:
    context, egress = tls_context(settings.centre.ca_file), ProxyConnector.from_settings(settings.centre)
    async with egress.http_client(context, httpx.Timeout(30, connect=10)) as http:
        identity = Identity(settings, http)
        transfer = Transfer(settings.centre.api_url, identity, http)
        toolbox = Toolbox(settings.state / "tools", read_keys(settings.centre.catalogue_keys), transfer)
        yield toolbox, transfer, make_store(settings, identity)


def _patience(say: Say) -> Callable[[str | None], None]:
    """Waits for a centre that does not answer, but not for ever: somebody waits for this program."""
    until = time.monotonic() + _PATIENCE

    def waiting(what: str | None) -> None:
        if what is None:
            return
        if time.monotonic() > until:
            raise UnavailableError(
                f"{what}: not reached within {_PATIENCE:.0f} s; can this host reach the centre's gateway?"
            )
        say(f"waits for {what}")

    return waiting

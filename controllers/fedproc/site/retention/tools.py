"""Tools, and what they run in, that this host needs no more: fetched again if a job wants them after all."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from fedproc.common.log import get_logger
from fedproc.common.tasks import in_own_thread
from fedproc.contract.ids import version_key
from fedproc.site.policy.policy_file import Policy
from fedproc.site.retention.folders import size_of
from fedproc.site.retention.kept import Item, Kept, OneByOne, due_before, figures
from fedproc.site.tools.cache import Runtimes, StoredTool, ToolCache

log = get_logger(__name__)

InUse = Callable[[], set[str]]
"""the digests of the tools of open jobs"""
Since = Callable[[], float]
"""when this host began to note what is used (seconds since 1970): nothing counts as unused before"""


def needed(stored: Iterable[StoredTool], policy: Policy, in_use: set[str]) -> set[str]:
    """The digests that stay at any age: of open jobs, named by the policy, or the newest here of an admitted tool."""
    found = set(in_use)
    tools = list(stored)
    for rule in policy.tools:
        here = [tool for tool in tools if tool.manifest is not None and tool.manifest.tool.id == rule.id]
        if rule.digest != "*":
            found.add(rule.digest)
        elif here:
            found.add(max(here, key=lambda tool: version_key(tool.manifest.tool.version)).digest)  # type: ignore[union-attr]
    return found


class Tools:
    """Versions of tools: their manifests and sources."""

    name = "tools"

    def __init__(
        self, cache: ToolCache, days: float, policy: Callable[[], Policy], in_use: InUse, since: Since
    ) -> None:
        self._since = since
        self._cache = cache
        self._days = days
        self._policy = policy
        self._in_use = in_use
        self._sizes: dict[str, int] = {}
        self._removing = OneByOne(self.name)

    async def survey(self, now: float) -> Kept:
        items = await in_own_thread(self._items, True)
        return figures(self.name, "versions of tools", items, self._days, now)

    async def remove(self, now: float) -> int:
        limit = due_before(self._days, now)
        items = await in_own_thread(self._items, False)
        due = (item.name for item in items if item.at < limit and not item.stays)
        removed = await self._removing.remove_first(due, lambda digest: self._discard(digest, limit))
        return removed or await in_own_thread(self._cache.sweep, now)

    async def _discard(self, digest: str, limit: float) -> bool:
        if not await self._cache.discard(digest, limit):
            return False
        self._sizes.pop(digest, None)
        log.info("tool.removed", digest=digest)
        return True

    def _items(self, sizes: bool) -> list[Item]:
        stored = self._cache.stored()
        stay = needed(stored, self._policy(), self._in_use())
        if sizes:
            self._sizes |= {tool.digest: size_of(tool.home) for tool in stored if tool.digest not in self._sizes}
        return [
            Item(tool.digest, max(tool.used, self._since()), self._sizes.get(tool.digest, 0), stays=tool.digest in stay)
            for tool in stored
        ]


class ToolRuntimes:
    """Environments or images: what tasks run in."""

    def __init__(
        self,
        runtimes: Runtimes,
        cache: ToolCache,
        days: float,
        policy: Callable[[], Policy],
        in_use: InUse,
        since: Since,
    ) -> None:
        self._since = since
        self.name = runtimes.kind
        self._runtimes = runtimes
        self._cache = cache
        self._days = days
        self._policy = policy
        self._in_use = in_use
        self._sizes: dict[str, int] = {}
        self._removing = OneByOne(self.name)

    async def survey(self, now: float) -> Kept:
        items = await in_own_thread(self._items, True)
        return figures(self.name, f"{self.name.replace('_', ' ')} of tools", items, self._days, now)

    async def remove(self, now: float) -> int:
        limit = due_before(self._days, now)
        items = await in_own_thread(self._items, False)
        due = (item.name for item in items if item.at < limit and not item.stays)
        return await self._removing.remove_first(due, lambda name: self._discard(name, limit))

    async def _discard(self, name: str, limit: float) -> bool:
        if not await self._runtimes.discard(name, limit):
            return False
        self._sizes.pop(name, None)
        await in_own_thread(self._cache.note_gone, name)
        log.info("runtime.removed", kind=self.name, runtime=name)
        return True

    def _items(self, sizes: bool) -> list[Item]:
        stay = self._needed()
        stored = self._runtimes.stored()
        if sizes:
            new = [one for one in stored if one.name not in self._sizes]
            self._sizes |= {one.name: one.size if one.place is None else size_of(one.place) for one in new}
        return [
            Item(one.name, max(one.used, self._since()), self._sizes.get(one.name, 0), stays=one.name in stay)
            for one in stored
        ]

    def _needed(self) -> set[str]:
        stored = self._cache.stored()
        stay = needed(stored, self._policy(), self._in_use())
        return {
            name
            for tool in stored
            if tool.digest in stay and (installed := tool.installed) is not None
            for task in installed.manifest.tool.tasks
            if (name := self._runtimes.name_of(installed, task)) is not None
        }

"""What this host's pods are now: listed once, then watched, and listed again whenever the watch was lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

from fedproc.common.log import get_logger
from fedproc.common.retry import Backoff
from fedproc.common.tasks import watched
from fedproc.site.executors.base import ExecutorError
from fedproc.site.executors.kubernetes.cluster import TOO_OLD, Cluster
from fedproc.site.executors.kubernetes.pod_states import Pod, name_of, uid_of

log = get_logger(__name__)
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 10.0
_WORTH_SECONDS = 5.0
"""that a watch lasts which is no reason to pause: one that is always cut at once would ask without end"""


class PodWatch:
    """The pods with one label, by name, as the API server told last. What it does not answer changes nothing."""

    def __init__(self, cluster: Cluster, selector: str) -> None:
        self._cluster = cluster
        self._selector = selector
        self._pods: dict[str, Pod] = {}
        self._changed = asyncio.Condition()
        self._known = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def states(self, name: str) -> AsyncIterator[Pod | None]:
        """The pod now and after each change; None when there is none (any more). Waits for the first answer."""
        self._begin()
        await self._known.wait()
        seen: object = self
        while True:
            async with self._changed:
                while (pod := self._pods.get(name)) is seen:
                    await self._changed.wait()
            seen = pod
            yield pod

    def note(self, pod: Pod) -> None:
        """What a call just told: the watch may tell later of it, or has already."""
        known = self._pods.get(name_of(pod))
        if known is None or uid_of(known) != uid_of(pod):
            self._pods[name_of(pod)] = pod

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _begin(self) -> None:
        if self._task is None:
            self._task = watched(asyncio.create_task(self._follow()), "kubernetes.watch_failed")

    async def _follow(self) -> None:
        """Whatever ends a look is told, and another begins: of all jobs here nobody else tells the end."""
        backoff = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)
        while True:
            began = time.monotonic()
            try:
                await self._look()
            except ExecutorError as error:
                if getattr(error, "status", None) != TOO_OLD:  # which is usual: the server forgets, and we list again
                    log.warning("kubernetes.away", reason=error.message)
            except Exception:
                log.exception("kubernetes.watch_failed")
            if time.monotonic() - began >= _WORTH_SECONDS:
                backoff.reset()
            await asyncio.sleep(backoff.pause())

    async def _look(self) -> None:
        pods, version = await self._cluster.pods(self._selector)
        await self._tell({name_of(pod): pod for pod in pods})
        self._known.set()
        async for kind, pod in self._cluster.changes(self._selector, version):
            others = {name: known for name, known in self._pods.items() if name != name_of(pod)}
            await self._tell(others if kind == "DELETED" else {**others, name_of(pod): pod})

    async def _tell(self, pods: dict[str, Pod]) -> None:
        async with self._changed:
            self._pods = pods
            self._changed.notify_all()

"""Submissions to an executor that are under way: they outlive the run of their job, so that none is forgotten.

An executor may hang for as long as it likes: whoever submits can be cancelled at any time, and the job's end asks here
whether something may still be started.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine

from fedproc.site.executors.base import Handle

OnHandle = Callable[[Handle], None]


class Submissions:
    """Of one host, one for each job."""

    def __init__(self) -> None:
        self._under_way: dict[str, asyncio.Task[Handle]] = {}

    async def make(self, job: str, submission: Coroutine[None, None, Handle], on_handle: OnHandle) -> Handle:
        """What comes of ``submission``, which goes on where this is cancelled; ``on_handle`` is told in any case."""
        task = self._under_way[job] = asyncio.create_task(submission, name=f"submit {job}")

        def ended(task: asyncio.Task[Handle]) -> None:
            if self._under_way.get(job) is task:
                del self._under_way[job]
            if not task.cancelled() and task.exception() is None:
                on_handle(task.result())

        task.add_done_callback(ended)
        return await asyncio.shield(task)

    async def ended(self, job: str, seconds: float) -> bool:
        """Whether none of the job is under way, after so many seconds at most."""
        await self._wait({job}, seconds)
        return job not in self._under_way

    def break_off(self, job: str) -> None:
        """Nobody waits for it any more: what its executor has begun, it undoes as far as it can."""
        if task := self._under_way.get(job):
            task.cancel()

    async def settle(self, seconds: float) -> None:
        """Before this daemon ends: let them end for so long. The next one submits what was broken off again."""
        await self._wait(set(self._under_way), seconds)

    async def _wait(self, jobs: set[str], seconds: float) -> None:
        if tasks := {task for job, task in self._under_way.items() if job in jobs}:
            await asyncio.wait(tasks, timeout=seconds)
            await asyncio.sleep(0)  # who is told of an end is told by now

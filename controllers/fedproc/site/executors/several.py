"""Several executors at one host: each job is of the one that its spec names, and is found there again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import replace

from fedproc.site.executors.base import Executor, ExecutorError, Handle, Observation, Offer, Phase, Spec

_OF = "executor"
_OFFER_SECONDS = 60.0
_AGAIN_SECONDS = 0.5
"""between two questions to one that is away"""


class SeveralExecutors:
    """Implements :class:`fedproc.site.executors.base.Executor` over those of a host, the preferred one first.

    A handle says whose it is. One without, of a host that had one executor before, belongs to the first that knows it.
    """

    def __init__(self, executors: Mapping[str, Executor]) -> None:
        self.executors = dict(executors)
        self.name = "+".join(executors)

    async def submit(self, spec: Spec) -> Handle:
        return await self._named(spec.executor).submit(spec) | {_OF: spec.executor}

    async def poll(self, handle: Handle, *, until_exit: bool = False) -> Observation:
        return await (await self._of(handle)).poll(handle, until_exit=until_exit)

    async def logs(self, handle: Handle, stream: str = "stdout", *, offset: int = 0) -> AsyncIterator[bytes]:
        async for part in (await self._of(handle)).logs(handle, stream, offset=offset):
            yield part

    async def cancel(self, handle: Handle) -> None:
        await (await self._of(handle)).cancel(handle)

    async def discard(self, handle: Handle) -> None:
        """See the protocol: of a handle that says no more than the job, all forget it, whichever of them cannot."""
        if _OF in handle:
            await self._named(handle[_OF]).discard(handle)
            return
        errors = []
        for executor in self.executors.values():
            try:
                await executor.discard(handle)
            except ExecutorError as error:
                errors.append(error)
        if errors:
            raise errors[0]

    async def offer(self) -> Offer:
        offers = await offers_of(self)
        fit = [offer for offer in offers.values() if not offer.obstacle]
        return fit[0] if fit else Offer(obstacle="; ".join(f"{name}: {o.obstacle}" for name, o in offers.items()))

    async def records(self) -> dict[str, tuple[float, int]]:
        found: dict[str, tuple[float, int]] = {}
        for executor in self.executors.values():
            found |= await executor.records()
        return found

    def _named(self, name: str) -> Executor:
        try:
            return self.executors[name]
        except KeyError:
            raise ExecutorError(
                f"the job is of executor {name!r}, which this host's settings do not name any more: name it again until"
                " its jobs have ended"
            ) from None

    async def _of(self, handle: Handle) -> Executor:
        if _OF in handle:
            return self._named(handle[_OF])
        for executor in self.executors.values():
            if (await executor.poll(handle)).phase is not Phase.absent:
                return executor
        return next(iter(self.executors.values()))


async def offers_of(executor: Executor) -> dict[str, Offer]:
    """What each executor of a host can do now, by its name. One that hangs keeps no other from its answer."""
    each = _each(executor)
    return dict(zip(each, await asyncio.gather(*map(_offer_of, each.values())), strict=True))


async def _offer_of(executor: Executor) -> Offer:
    try:
        async with asyncio.timeout(_OFFER_SECONDS):
            return await executor.offer()
    except TimeoutError:
        return Offer(obstacle=f"it has not answered for {_OFFER_SECONDS:g} s; see why it hangs")


async def offers_within(executor: Executor, seconds: float) -> dict[str, Offer]:
    """The same, for a person who asks: what is away is asked again for so long, and what does not answer is said to."""
    each = _each(executor)
    offers = await asyncio.gather(*(_offer_within(name, one, seconds) for name, one in each.items()))
    return dict(zip(each, offers, strict=True))


async def _offer_within(name: str, executor: Executor, seconds: float) -> Offer:
    offer = Offer(obstacle=f"executor {name} does not answer", away=True)
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while offer.away:
                offer = await executor.offer()
                await asyncio.sleep(_AGAIN_SECONDS if offer.away else 0)
    if offer.away:
        return replace(offer, obstacle=f"{offer.obstacle}; this was tried for {seconds:g} s: ask again in a while")
    return offer


def _each(executor: Executor) -> dict[str, Executor]:
    return executor.executors if isinstance(executor, SeveralExecutors) else {executor.name: executor}

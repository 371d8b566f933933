"""Work that goes on side by side: ended together, done once for all who ask, or in threads that can be stopped."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from fedproc.common.errors import FedprocError, InvalidInputError
from fedproc.common.log import get_logger
from fedproc.common.retry import Backoff

T = TypeVar("T")
_STOP_SECONDS = 10.0
"""that a cancelled caller waits for its thread; one that hangs in the system's call keeps nobody for longer"""
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0
"""seconds until work is begun again that something unforeseen has ended"""

log = get_logger(__name__)


async def run_together(*work: Coroutine[Any, Any, Any]) -> None:
    """Run all at once. The first error ends the others and is raised itself, one that nobody foresaw before others.

    No TaskGroup: Python 3.11 and 3.12 let an error of a child hide that the caller itself was cancelled.
    """
    tasks = [asyncio.create_task(one) for one in work]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    errors = [error for task in tasks if not task.cancelled() and (error := task.exception())]
    unforeseen = (error for error in errors if not isinstance(error, FedprocError))
    for error in (*unforeseen, *errors):
        raise error


def watched(task: asyncio.Task[T], event: str, **fields: Any) -> asyncio.Task[T]:
    """The task; where nobody awaits it, the error that ends it is logged as ``event`` with these fields."""

    def ended(task: asyncio.Task[T]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error(event, exc_info=error, **fields)

    task.add_done_callback(ended)
    return task


async def kept_up(name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Do ``work``, which goes on for as long as its program: again where something ends it that nobody foresaw.

    No odd byte, and no thread that could not be had for a moment, ends a program with all else that it does. What is
    told as :class:`InvalidInputError` is somebody's to mend, and ends it.
    """
    backoff = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)
    while True:
        since = time.monotonic()
        try:
            return await work()
        except InvalidInputError:
            raise
        except Exception as error:
            if time.monotonic() - since > _LONGEST_PAUSE:
                backoff.reset()
            pause = backoff.pause()
            log.error("loop.failed", loop=name, reason=str(error), again=round(pause, 1), exc_info=error)
        await asyncio.sleep(pause)


def settle(future: asyncio.Future[Any], value: Any) -> None:
    """Give a future its result, unless whoever waited for it has gone."""
    if not future.done():
        future.set_result(value)


def fail(future: asyncio.Future[Any], error: BaseException) -> None:
    """Give a future its error, unless whoever waited for it has gone."""
    if not future.done():
        future.set_exception(error)


class SingleFlight(Generic[T]):
    """Work that is done once at a time per key: whoever asks meanwhile waits for it and gets its outcome.

    Work that nobody waits for any more is cancelled; with ``keep`` it goes on, since its thread cannot be ended.
    """

    def __init__(self, *, keep: bool = False) -> None:
        self._keep = keep
        self._tasks: dict[str, asyncio.Task[T]] = {}
        self._waiting: dict[asyncio.Task[T], int] = {}

    async def do(self, key: str, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The outcome of ``work``, or of that which goes on for this key."""
        task = self._tasks.get(key) or self._begun(key, work())
        self._waiting[task] = self._waiting.get(task, 0) + 1
        try:
            return await asyncio.shield(task)
        finally:
            self._leave(key, task)

    def _begun(self, key: str, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = self._tasks[key] = asyncio.create_task(work)
        task.add_done_callback(lambda ended: self._forget(key, ended))
        return task

    def _leave(self, key: str, task: asyncio.Task[T]) -> None:
        self._waiting[task] -= 1
        if self._waiting[task]:
            return
        del self._waiting[task]
        if not self._keep and not task.done():
            self._forget(key, task)  # whoever asks from now on begins anew
            task.cancel()

    def _forget(self, key: str, task: asyncio.Task[T]) -> None:
        if self._tasks.get(key) is task:
            del self._tasks[key]
        if task.done() and not task.cancelled():
            task.exception()  # seen: those who have waited got it


class StoppedError(Exception):
    """Work in a thread was told to stop, since nobody waits for it any more."""


class StopFlag:
    """Looked at by work in a thread between two pieces of it."""

    def __init__(self) -> None:
        self._set = threading.Event()

    def set(self) -> None:
        self._set.set()

    def check(self) -> None:
        """Raises :class:`StoppedError` once the flag is set."""
        if self._set.is_set():
            raise StoppedError


async def stoppable(work: Callable[..., T], *arguments: Any) -> T:
    """What ``work(*arguments, flag)`` returns, from a thread of the common pool.

    Where this is cancelled, the flag is set, and the cancelled caller goes on when the thread has ended: what it
    wrote may be removed then.
    """
    flag = StopFlag()
    return await _ended_with_caller(asyncio.to_thread(work, *arguments, flag), flag)


async def stoppable_alone(work: Callable[..., T], *arguments: Any) -> T:
    """The same in a thread of its own: see :func:`in_own_thread`."""
    flag = StopFlag()
    return await _ended_with_caller(in_own_thread(work, *arguments, flag), flag)


async def _ended_with_caller(work: Coroutine[Any, Any, T], flag: StopFlag) -> T:
    running = asyncio.ensure_future(work)
    running.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        flag.set()
        await asyncio.wait({running}, timeout=_STOP_SECONDS)
        raise


async def in_own_thread(work: Callable[..., T], *arguments: Any) -> T:
    """What ``work`` returns, from a thread of its own: for what may block long, or waits for the event loop itself.

    In the common pool, as few of them as the pool has threads would stop everything that needs the pool.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def answer(give: Callable[..., None], outcome: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended, and nobody waits
            loop.call_soon_threadsafe(give, future, outcome)

    def run() -> None:
        try:
            answer(settle, work(*arguments))
        except BaseException as error:  # noqa: BLE001 (it is raised where it is awaited)
            answer(fail, error)

    threading.Thread(target=run, name=getattr(work, "__name__", "work"), daemon=True).start()
    return await future

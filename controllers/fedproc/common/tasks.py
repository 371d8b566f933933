"""Work that goes on side by side and ends together."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from fedproc.common.errors import FedprocError


async def run_together(*work: Coroutine[Any, Any, Any]) -> None:
    """Run all at once. The first error ends the others and is raised itself, one that nobody foresaw before others."""
    try:
        async with asyncio.TaskGroup() as group:
            for one in work:
                group.create_task(one)
    except ExceptionGroup as errors:
        unforeseen = (error for error in errors.exceptions if not isinstance(error, FedprocError))
        raise next(unforeseen, errors.exceptions[0]) from None


def settle(future: asyncio.Future[Any], value: Any) -> None:
    """Give a future its result, unless whoever waited for it has gone."""
    if not future.done():
        future.set_result(value)

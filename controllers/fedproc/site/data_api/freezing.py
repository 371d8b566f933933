"""Cohorts that take longer to freeze than a request to the reference Data API waits."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from concurrent.futures import Future

from fedproc.common.errors import UnavailableError
from fedproc.contract.data_api import CohortRequest, CohortView
from fedproc.site.data_api.service import DataService

_MOST_LEFT = 64
"""cohorts that are frozen, or were, and nobody has asked for again"""


class Freezing:
    """Cohorts are frozen in ``loop``, however long it takes: one that was not waited for is had by the same request.

    Each is given to one request alone, since whoever has it may have it forgotten. For threads.
    """

    def __init__(self, service: DataService, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self._service = service
        self._loop = loop
        self._seconds = seconds
        self._lock = threading.Lock()
        self._left = deque[tuple[str, "Future[CohortView]"]]()

    def freeze(self, dataset: str, request: CohortRequest) -> CohortView:
        """Raises what the service does, and :class:`UnavailableError` where it takes longer."""
        key = f"{dataset} {request.model_dump_json()}"
        future = self._left_of(key) or asyncio.run_coroutine_threadsafe(
            self._service.freeze(dataset, request), self._loop
        )
        try:
            return future.result(self._seconds)
        except TimeoutError as error:
            if future.done():
                raise
            self._leave(key, future)
            raise UnavailableError("the cohort is not frozen yet; ask again") from error

    def _left_of(self, key: str) -> Future[CohortView] | None:
        with self._lock:
            for entry in self._left:
                if entry[0] == key:
                    self._left.remove(entry)
                    return entry[1]
        return None

    def _leave(self, key: str, future: Future[CohortView]) -> None:
        with self._lock:
            self._left.append((key, future))
            if len(self._left) > _MOST_LEFT:
                self._left.popleft()[1].cancel()

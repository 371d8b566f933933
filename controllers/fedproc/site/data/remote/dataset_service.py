"""EUCAIM's dataset-service, where a site has one: it is asked before a job is given a dataset, told whose job it is and
by which tool, and told when it has ended. Three calls of its API (``/api/datasetAccessCheck``, ``/api/datasetAccess``).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from fedproc.common.errors import RefusedError
from fedproc.common.files import write_atomically
from fedproc.common.log import get_logger
from fedproc.common.tasks import StopFlag, stoppable_alone
from fedproc.contract.wire.messages import DatasetUse, JobOrder
from fedproc.contract.wire.selection import Selection
from fedproc.site.data.api import DataApi, DatasetError, Materialised, OnWait
from fedproc.site.data.remote.errors import RemoteError, RemotePassingError
from fedproc.site.data.remote.http import RemoteHttp
from fedproc.site.data.remote.patience import persistently
from fedproc.site.dataset_settings import DatasetSettings, ServiceSettings

log = get_logger(__name__)
OrderOf = Callable[[str], Awaitable[JobOrder]]
"""the order of a job that is open here"""


class AccessedDataApi:
    """``inner``, whose datasets jobs are given as the dataset-service of each allows. ``folder`` keeps what began."""

    def __init__(
        self, inner: DataApi, datasets: Mapping[str, DatasetSettings], folder: Path, order_of: OrderOf
    ) -> None:
        self._inner = inner
        self._services = {name: entry.service for name, entry in datasets.items() if entry.service is not None}
        self._folder = folder
        self._order_of = order_of
        self.offers = inner.offers
        self.conditions = inner.conditions
        self.columns = inner.columns
        self.confirm = inner.confirm
        self.persons = inner.persons

    async def freeze(self, use: DatasetUse, selection: Selection, job: str, floor: int) -> None:
        """Raises RefusedError with ``data.access``, before what is selected is looked for."""
        if (service := self._services.get(use.id)) is not None and not await asyncio.to_thread(
            self._note(job, use.id).exists
        ):
            await self._check(use.id, service, await self._order_of(job), lambda _: None)
        await self._inner.freeze(use, selection, job, floor)

    async def materialise(self, use: DatasetUse, job: str, on_wait: OnWait) -> Materialised:
        """Raises RefusedError with ``data.access`` where the service knows of no right of the job's user."""
        if (service := self._services.get(use.id)) is not None:
            await self._begin(use.id, service, job, on_wait)
        return await self._inner.materialise(use, job, on_wait)

    async def _begin(self, dataset: str, service: ServiceSettings, job: str, on_wait: OnWait) -> None:
        """The note stands before the service is told: whatever is cut, the end of the job tells it of its end."""
        note = self._note(job, dataset)
        known = json.loads(await asyncio.to_thread(note.read_bytes)) if await asyncio.to_thread(note.exists) else None
        if known is not None and known.get("begun", True):  # notes of the release before have none
            return
        order = await self._order_of(job)
        await self._check(dataset, service, order, on_wait)
        access = f"{order.job}.{dataset}"
        began = known or {"access": access, "dataset": dataset, "startTime": _now(), "begun": False}
        await asyncio.to_thread(_keep, note, began)
        tool = {
            "toolName": order.tool.id, "toolVersion": order.tool.version, "image": order.tool.digest,
            "commandLine": order.task, "isJob": True, "resourcesFlavor": "", "openchallengeJobType": "",
        }  # fmt: skip
        body = {**_about(dataset, service, order), **tool}
        with _told(dataset, service):
            try:
                begin = partial(self._ask, service, f"/api/datasetAccess/{access}", "POST", body)
                await persistently(service.fetching, dataset, begin, on_wait)
            except RemoteError as error:
                if error.status != 409:  # it was told before, and its answer did not come
                    raise
            finally:
                on_wait(None)
        await asyncio.to_thread(_keep, note, {**began, "begun": True})

    async def _check(self, dataset: str, service: ServiceSettings, order: JobOrder, on_wait: OnWait) -> None:
        ask = partial(self._ask, service, "/api/datasetAccessCheck", "POST", _about(dataset, service, order))
        with _told(dataset, service):
            try:
                await persistently(service.fetching, dataset, ask, on_wait)
            finally:
                on_wait(None)

    async def discard(self, job: str) -> None:
        """Raises OSError where the service cannot be told: the end of the job tries again."""
        await self._inner.discard(job)
        for note in await asyncio.to_thread(lambda: sorted((self._folder / job).glob("*.json"))):
            began = json.loads(await asyncio.to_thread(note.read_bytes))
            service = self._services.get(began["dataset"])
            if service is not None:
                await self._end(service, began)
            await asyncio.to_thread(note.unlink)
        if await asyncio.to_thread((self._folder / job).exists):
            await asyncio.to_thread((self._folder / job).rmdir)

    async def _end(self, service: ServiceSettings, began: Mapping[str, str]) -> None:
        body = {"status": "ended", "startTime": began["startTime"], "endTime": _now()}
        try:
            await self._ask(service, f"/api/datasetAccess/{began['access']}", "PATCH", body)
        except RemoteError as error:
            if error.status is None or isinstance(error, RemotePassingError):
                raise OSError(None, f"{service.url}: {error}") from error
            if error.status != 404:  # it knows of none
                log.warning("dataset_service.end_refused", dataset=began["dataset"], reason=str(error))

    def _note(self, job: str, dataset: str) -> Path:
        return self._folder / job / f"{dataset}.json"

    async def _ask(self, service: ServiceSettings, path: str, method: str, body: Mapping[str, Any]) -> None:
        def work(flag: StopFlag) -> None:
            with RemoteHttp(service.url, service.access, service.fetching, flag) as http:
                http.json(path, method=method, body=body)

        await stoppable_alone(work)


def _about(dataset: str, service: ServiceSettings, order: JobOrder) -> dict[str, Any]:
    """The user by what is their own for good: names are for people, and two may have one."""
    return {"userName": order.user.sub, "datasets": [service.dataset or dataset]}


@contextmanager
def _told(dataset: str, service: ServiceSettings) -> Iterator[None]:
    """What the service itself said stays at the host."""
    try:
        yield
    except RemoteError as error:
        if error.status == 403:
            raise RefusedError(
                f"the site's dataset-service does not let its user use dataset {dataset!r}", code="data.access"
            ) from error
        raise DatasetError(
            f"the site's dataset-service cannot be asked about dataset {dataset!r}; tell the site",
            code="data.unreadable",
            at_host=f"{service.url}: {error}",
        ) from error


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _keep(path: Path, began: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_atomically(path, json.dumps(began).encode(), 0o600)

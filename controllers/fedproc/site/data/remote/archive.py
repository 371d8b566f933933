"""Datasets that lie in a PACS (DICOMweb): what is asked for is fetched, kept, and laid out for the job.

The index says what there is without a byte of it; a job's cohort is frozen from it, and fetched series by series.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from fedproc.common.tasks import StopFlag, stoppable_alone
from fedproc.contract.wire.datasets import DatasetColumns, OfferedDataset
from fedproc.contract.wire.messages import DatasetUse
from fedproc.contract.wire.selection import Selection
from fedproc.site.data.accepted import check_identifying
from fedproc.site.data.api import DatasetCondition, DatasetError, Materialised, OnWait
from fedproc.site.data.background import Looks, Seen
from fedproc.site.data.citing import cited
from fedproc.site.data.cohort import Cohort
from fedproc.site.data.frozen import FrozenCohorts, check_persons
from fedproc.site.data.imaging import rounded
from fedproc.site.data.index import Known
from fedproc.site.data.indexer import Indexer
from fedproc.site.data.layout import ChangedError
from fedproc.site.data.persons import Persons
from fedproc.site.data.remote import archive_index
from fedproc.site.data.remote.dicomweb import DicomWeb
from fedproc.site.data.remote.errors import RemoteError
from fedproc.site.data.remote.fetching import CohortFetch
from fedproc.site.data.remote.http import RemoteHttp
from fedproc.site.data.remote.laying import Laying
from fedproc.site.data.remote.patience import persistently
from fedproc.site.data.remote.stores import Stores
from fedproc.site.dataset_settings import DatasetSettings

_FAULTS = (RemoteError, OSError, sqlite3.Error, ChangedError)


class ArchiveDataApi:
    """The adapter for DICOMweb. ``indexes`` is the folder of its indexes; see :class:`FolderDataApi` for the others."""

    def __init__(
        self,
        datasets: Mapping[str, DatasetSettings],
        indexes: Path,
        stores: Stores,
        reread_days: float = 0.0,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self._datasets = datasets
        self._indexer = Indexer(indexes)
        self._frozen = FrozenCohorts(indexes / "cohorts")
        self._stores = stores
        self._reread_days = reread_days
        self._looking = defaultdict[str, asyncio.Lock](asyncio.Lock)
        self._fetching = defaultdict[str, asyncio.Lock](asyncio.Lock)
        """one series at a time of a PACS"""
        self._progress: dict[str, int] = {}
        seen = [Seen(DatasetCondition(name, e.url), e.fetching.query_seconds) for name, e in datasets.items()]
        self._looks = Looks(seen, self._looked_at, on_change)

    async def offers(self) -> tuple[OfferedDataset, ...]:
        return await self._looks.offers()

    def conditions(self) -> tuple[DatasetCondition, ...]:
        return self._looks.conditions(self._asked)

    def columns(self, floor: int) -> tuple[DatasetColumns, ...]:
        return self._looks.columns(floor)

    def _asked(self, name: str) -> str | None:
        count = self._progress.get(name)
        return None if count is None else f"asking the PACS: {count:,} series"

    async def _looked_at(self, name: str) -> None:
        entry = self._datasets[name]
        condition = DatasetCondition(name, entry.url)
        try:
            known = await self._current(name, entry)
            condition = DatasetCondition(name, entry.url, found=known.found)
            check_identifying(name, entry.identifying_accepted, known.found)
            images = await asyncio.to_thread(self._indexer.images, name)
            self._looks.of(name).imaging = None if images is None else partial(rounded, images)
            offer = _offer(name, entry, known)
            self._looks.note(DatasetCondition(name, entry.url, offer, found=known.found))
        except (DatasetError, ValueError, *_FAULTS) as error:
            text = str(getattr(error, "detail", {}).get("at_host", error))
            self._looks.note(DatasetCondition(name, entry.url, None, text, _cure(name, error), found=condition.found))
        await stoppable_alone(self._stores.expire, entry)

    async def _current(self, name: str, entry: DatasetSettings, on_wait: OnWait = lambda _: None) -> Known:
        """What the PACS says now."""
        async with self._looking[name]:
            try:
                return await persistently(
                    entry.fetching, name, partial(stoppable_alone, self._update, name, entry), on_wait
                )
            finally:
                self._progress.pop(name, None)
                on_wait(None)

    def _update(self, name: str, entry: DatasetSettings, flag: StopFlag) -> Known:
        def note(count: int) -> None:
            self._progress[name] = count

        older_than = archive_index.before(self._reread_days)
        with RemoteHttp(entry.url, entry.access, entry.fetching, flag) as http:
            return archive_index.update(
                self._indexer.index(name), DicomWeb(http), entry, flag, note, older_than=older_than
            )

    async def freeze(self, use: DatasetUse, selection: Selection, job: str, floor: int) -> None:
        check_persons(await self._cohort(use, selection, job, lambda _: None), floor)

    async def _cohort(self, use: DatasetUse, selection: Selection | None, job: str, on_wait: OnWait) -> Cohort:
        """What was frozen for the job, or is now."""
        if (cohort := await asyncio.to_thread(self._frozen.known, job, use.id)) is not None:
            return cohort
        entry = self._entry(use.id)
        with _told(use.id, entry):
            known = await self._current(use.id, entry, on_wait)
            if use.version not in {None, known.version, entry.version or "1"}:
                raise DatasetError(
                    f"dataset {use.id!r} is at version {known.version} now, not {use.version}; choose it again",
                    code="data.version",
                )
            check_identifying(use.id, entry.identifying_accepted, known.found)
            async with self._looking[use.id]:
                return await self._frozen.freeze(job, self._indexer.index(use.id), use.id, known, selection)

    async def materialise(self, use: DatasetUse, job: str, on_wait: OnWait) -> Materialised:
        entry = self._entry(use.id)
        await self._cohort(use, None, job, on_wait)
        laying = self._laying(job, use.id, entry)
        with _told(use.id, entry):
            whole = await asyncio.to_thread(laying.whole)
            if whole is None:
                index, alone = self._indexer.index(use.id), self._fetching[entry.url]
                store = self._stores.of(entry)
                whole = await CohortFetch(use.id, entry, index, store, laying, alone, on_wait).run()
        return Materialised(use.id, whole.version, laying.place)

    def _laying(self, job: str, dataset: str, entry: DatasetSettings) -> Laying:
        store = self._stores.of(entry)
        place = store.folder / "jobs" / job / dataset
        return Laying(store, self._frozen.file(job, dataset), place, verify=entry.verify == "content")

    async def confirm(self, dataset: str, version: str, job: str) -> None:
        entry = self._entry(dataset)
        with _told(dataset, entry):
            try:
                await stoppable_alone(self._laying(job, dataset, entry).check)
            except ChangedError as error:
                raise DatasetError(
                    f"what was fetched of dataset {dataset!r} was changed while the job used it; start it again",
                    code="data.changed",
                ) from error

    async def persons(self, dataset: str, version: str, job: str) -> Persons:
        """Those of what was frozen: of a PACS all that a job is given is."""
        return await asyncio.to_thread(self._frozen.persons, job, dataset) or Persons()

    async def discard(self, job: str) -> None:
        folders = {store.folder / "jobs" for store in self._stores.all(self._datasets.values())}
        await asyncio.to_thread(self._frozen.discard, job, {*folders})

    def _entry(self, dataset: str) -> DatasetSettings:
        if (entry := self._datasets.get(dataset)) is None:
            raise DatasetError(f"this host has no dataset {dataset!r}", code="data.unknown")
        return entry


@contextmanager
def _told(dataset: str, entry: DatasetSettings) -> Iterator[None]:
    """What the PACS itself said stays at the host."""
    try:
        yield
    except ChangedError as error:
        raise DatasetError(
            f"what was fetched of dataset {dataset!r} has gone; start again", code="data.changed"
        ) from error
    except _FAULTS as error:
        raise DatasetError(
            f"dataset {dataset!r} cannot be fetched from where it is; tell the site",
            code="data.unreadable",
            at_host=f"{entry.url}: {error}",
        ) from error


def _offer(name: str, entry: DatasetSettings, known: Known) -> OfferedDataset:
    """Raises ValueError for what no message can carry."""
    offer = OfferedDataset(
        id=name,
        version=known.version,
        label=entry.version or "",
        description=entry.description or "",
        files=known.files,
        catalogue=entry.catalogue,
        kinds=("images",),
        **cited(entry),
    )
    offer.model_dump_json()
    return offer


def _cure(name: str, error: Exception) -> str:
    match error:
        case DatasetError(code="data.identifying"):
            accepted = ", ".join(f'"{kind}"' for kind in error.detail["kinds"])
            return (
                "de-identify the images in the PACS; or, if they tell of nobody, say so in the settings: "
                f"identifying_accepted = [{accepted}] in datasets.{name}"
            )
        case RemoteError(status=401 | 403):
            return f"correct user or token in the file that datasets.{name}.access names; no restart is needed"
        case RemoteError():
            return f"look at the PACS and at datasets.{name} in the settings: the reason is its own"
        case _:
            return "look at the disk or the mount: the system says so of the folder itself"

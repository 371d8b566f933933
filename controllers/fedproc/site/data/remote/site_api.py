"""Datasets of a site's own Data API: it freezes cohorts and says what is in them; their files are fetched, laid out.

Its version of a cohort is computed again from what came: a byte, a name or a file that is another ends the job.
"""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

from fedproc.common.errors import RefusedError
from fedproc.common.files import write_atomically
from fedproc.common.log import get_logger
from fedproc.common.tasks import StopFlag, stoppable_alone
from fedproc.contract.data_api import CohortRequest, CohortView
from fedproc.contract.wire.datasets import DatasetColumns, ImagingSummary, OfferedDataset
from fedproc.contract.wire.messages import DatasetUse
from fedproc.contract.wire.selection import Selection
from fedproc.site.data.api import DatasetCondition, DatasetError, Materialised, OnWait
from fedproc.site.data.background import Looks, Seen
from fedproc.site.data.citing import cited
from fedproc.site.data.cohort import Cohort, persons_of
from fedproc.site.data.imaging import rounded_again
from fedproc.site.data.layout import ChangedError
from fedproc.site.data.persons import Persons, keep, kept
from fedproc.site.data.remote.data_api_client import DataApiClient
from fedproc.site.data.remote.errors import RemoteError, RemotePassingError
from fedproc.site.data.remote.file_store import SourceStore
from fedproc.site.data.remote.http import RemoteHttp
from fedproc.site.data.remote.laying import Laying
from fedproc.site.data.remote.patience import check_hours, persistently, within_hours
from fedproc.site.data.remote.stores import Stores
from fedproc.site.dataset_settings import DatasetSettings

log = get_logger(__name__)
_FAULTS = (RemoteError, OSError, sqlite3.Error, ChangedError, ValueError)
_CODES = frozenset({"data.version", "data.identifying"})
_BATCH = 200
"""files after which what has come is laid out"""

T = TypeVar("T")
TokenOf = Callable[[str], Awaitable[str | None]]
"""the token of a job's user for this host, as the centre exchanges it"""


class SiteDataApi:
    """The adapter for a Data API. ``state`` is the folder of what it froze for jobs."""

    def __init__(
        self, datasets: Mapping[str, DatasetSettings], state: Path, stores: Stores, token_of: TokenOf,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        self._datasets = datasets
        self._cohorts = state / "cohorts"
        self._stores = stores
        self._token_of = token_of
        seen = [Seen(DatasetCondition(name, e.url), e.fetching.query_seconds) for name, e in datasets.items()]
        self._looks = Looks(seen, self._looked_at, on_change)

    async def offers(self) -> tuple[OfferedDataset, ...]:
        return await self._looks.offers()

    def conditions(self) -> tuple[DatasetCondition, ...]:
        return self._looks.conditions(lambda _: None)

    def columns(self, floor: int) -> tuple[DatasetColumns, ...]:
        return self._looks.columns(floor)

    async def _looked_at(self, name: str) -> None:
        entry = self._datasets[name]

        def work(client: DataApiClient) -> tuple[OfferedDataset, tuple[DatasetColumns, ...]]:
            found = client.described(entry.remote_id or name)
            theirs = found.dataset
            title = None if theirs.description in (None, theirs.title) else theirs.title
            offer = OfferedDataset(
                id=name, version=theirs.version, label=entry.version or theirs.label,
                description=entry.description or theirs.description or theirs.title, files=theirs.files,
                size=theirs.size, catalogue=entry.catalogue, kinds=theirs.kinds or None,
                **cited(entry, title, theirs.creators),
            )  # fmt: skip
            offer.model_dump_json()
            return offer, tuple(page.model_copy(update={"dataset": name}) for page in found.columns)

        try:
            attempt = partial(self._asked, entry, work)
            offer, pages = await persistently(entry.fetching, name, attempt, lambda _: None)
            imaging = pages[0].imaging if pages else None
            self._looks.of(name).imaging = None if imaging is None else partial(_for_floor, imaging)
            self._looks.note(DatasetCondition(name, entry.url, offer), pages)
        except _FAULTS as error:
            self._looks.note(DatasetCondition(name, entry.url, None, str(error), _cure(name, error)))
        await stoppable_alone(self._stores.expire, entry)

    async def _asked(self, entry: DatasetSettings, work: Callable[[DataApiClient], T]) -> T:
        def ask(flag: StopFlag) -> T:
            with RemoteHttp(entry.url, entry.access, entry.fetching, flag) as http:
                return work(DataApiClient(http))

        return await stoppable_alone(ask)

    async def freeze(self, use: DatasetUse, selection: Selection, job: str, floor: int) -> None:
        await self._frozen(use, selection, job, floor, lambda _: None)

    async def _frozen(
        self, use: DatasetUse, selection: Selection | None, job: str, floor: int, on_wait: OnWait
    ) -> CohortView:
        """What was frozen for the job, or is now."""
        entry, kept = self._entry(use.id), self._file(job, use.id)
        with suppress(FileNotFoundError):
            return CohortView.model_validate_json(await asyncio.to_thread(kept.read_bytes))
        version = None if use.version == entry.version else use.version
        request = CohortRequest(version=version, selection=selection, floor=max(1, floor))
        token = await self._token_of(job) if entry.access.user_token else None
        with _told(use.id, entry):
            work = partial(self._asked, entry, partial(_freeze, entry.remote_id or use.id, request, token))
            view = await persistently(entry.fetching, use.id, work, on_wait)
            await asyncio.to_thread(_keep, kept, view)
        return view

    async def materialise(self, use: DatasetUse, job: str, on_wait: OnWait) -> Materialised:
        entry = self._entry(use.id)
        cohort = await self._frozen(use, None, job, 1, on_wait)
        laying = self._laying(job, use.id, entry)
        with _told(use.id, entry):
            whole = await asyncio.to_thread(laying.whole)
            if whole is None:
                whole = await self._fetched(use.id, entry, cohort, laying, on_wait)
        return Materialised(use.id, whole.version, laying.place)

    async def _fetched(
        self, name: str, entry: DatasetSettings, view: CohortView, laying: Laying, on_wait: OnWait
    ) -> Cohort:
        loop, come = asyncio.get_running_loop(), [0]

        def note(count: int) -> None:
            come[0] = count
            loop.call_soon_threadsafe(on_wait, f"materialising {count:,}/{view.files:,} files")

        try:
            await asyncio.to_thread(laying.begin)
            fetch = partial(stoppable_alone, self._fetch_all, entry, view, laying, note)
            attempt = partial(within_hours, entry.fetching, name, fetch, on_wait)
            return await persistently(entry.fetching, name, attempt, on_wait, lambda: come[0])
        finally:
            on_wait(None)

    def _fetch_all(
        self, entry: DatasetSettings, view: CohortView, laying: Laying, note: Callable[[int], None], flag: StopFlag
    ) -> Cohort:
        """In a thread. What has come is in the store: after a cut, only what is missing is fetched."""
        store, largest, laid = self._store(view.dataset, entry), entry.fetching.largest_mb << 20, []
        with RemoteHttp(entry.url, entry.access, entry.fetching, flag) as http:
            client = DataApiClient(http)
            for file in client.files(view):
                flag.check()
                check_hours(entry.fetching)
                kept = client.fetch(view, file, store, largest)
                try:
                    laid += laying.lay({file.path: kept}, flag)
                finally:
                    store.release([kept])
                if len(laid) % _BATCH == 0 or len(laid) == view.files:
                    note(len(laid))
        frozen = Cohort(view.dataset, view.dataset_version, view.version, view.files, view.size, 0, 0)
        return laying.finish(laid, frozen)

    def _store(self, theirs: str, entry: DatasetSettings) -> SourceStore:
        return self._stores.of(entry).of(f"{entry.url} {theirs}")

    def _laying(self, job: str, dataset: str, entry: DatasetSettings) -> Laying:
        store = self._store(entry.remote_id or dataset, entry)
        frozen = self._file(job, dataset).with_suffix(".jsonl")
        return Laying(store, frozen, store.folder / "jobs" / job / dataset, verify=entry.verify == "content")

    async def confirm(self, dataset: str, version: str, job: str) -> None:
        entry = self._entry(dataset)
        with _told(dataset, entry):
            await stoppable_alone(self._laying(job, dataset, entry).check)

    async def persons(self, dataset: str, version: str, job: str) -> Persons:
        """As the Data API says; asked once, and kept."""
        entry, place = self._entry(dataset), persons_of(self._file(job, dataset))
        if (known := await asyncio.to_thread(kept, place)) is not None:
            return known
        try:
            view = CohortView.model_validate_json(await asyncio.to_thread(self._file(job, dataset).read_bytes))
            found = Persons(await self._asked(entry, lambda client: client.persons(view.id)))
        except (RemoteError, ValueError) as error:
            raise OSError(None, f"{entry.url}: {error}") from error
        await asyncio.to_thread(keep, place, found)
        return found

    async def discard(self, job: str) -> None:
        """The Data API is told, if it is there; else it forgets the cohort by itself some day."""
        for name, entry in self._datasets.items():
            kept = self._file(job, name)
            if await asyncio.to_thread(kept.exists):
                await self._forget(entry, kept)
        folders = [store.folder / "jobs" for store in self._stores.all(self._datasets.values())]
        for folder in (self._cohorts, *folders):
            if await asyncio.to_thread((folder / job).exists):
                await asyncio.to_thread(shutil.rmtree, folder / job)

    async def _forget(self, entry: DatasetSettings, kept: Path) -> None:
        try:
            view = CohortView.model_validate_json(await asyncio.to_thread(kept.read_bytes))
            await self._asked(entry, lambda client: client.forget(view.id))
        except (RemoteError, OSError, ValueError) as error:
            log.info("cohort.not_forgotten", reason=str(error))

    def _file(self, job: str, dataset: str) -> Path:
        return self._cohorts / job / f"{dataset}.remote"

    def _entry(self, dataset: str) -> DatasetSettings:
        if (entry := self._datasets.get(dataset)) is None:
            raise DatasetError(f"this host has no dataset {dataset!r}", code="data.unknown")
        return entry


def _keep(path: Path, view: CohortView) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_atomically(path, view.model_dump_json().encode(), 0o600)


def _freeze(dataset: str, request: CohortRequest, token: str | None, client: DataApiClient) -> CohortView:
    """Raises :class:`RemoteError` with ``data.version`` where it froze something else than was asked for."""
    view = client.freeze(dataset, request, token)
    if view.dataset != dataset:
        raise RemoteError(f"it was asked for dataset {dataset!r}, and froze {view.dataset!r}", code="data.version")
    if request.version not in {None, view.dataset_version}:
        theirs = client.described(dataset).dataset  # a centre of the release before knows the label alone
        if (theirs.label, theirs.version) != (request.version, view.dataset_version):
            raise RemoteError(
                f"it was asked for version {request.version}, and froze {view.dataset_version}", code="data.version"
            )
    return view


def _for_floor(summary: ImagingSummary, floor: int) -> ImagingSummary:
    return summary if summary.floor == floor else rounded_again(summary, floor)


@contextmanager
def _told(dataset: str, entry: DatasetSettings) -> Iterator[None]:
    """What it said itself stays at the host, but for what the researcher can mend."""
    try:
        yield
    except ChangedError as error:
        raise DatasetError(
            f"what was fetched of dataset {dataset!r} was changed while the job used it; start it again",
            code="data.changed",
        ) from error
    except RemoteError as error:
        if error.code == "policy.selection":
            raise RefusedError(
                f"this site selects more persons of {dataset!r} at the least, and leaves none or as many out; "
                "select otherwise",
                code="policy.selection",
            ) from error
        code = error.code if error.code in _CODES else "data.unreadable"
        text = "is at another version now; choose it again" if code == "data.version" else "is not given; tell the site"
        raise DatasetError(f"dataset {dataset!r} {text}", code=code, at_host=f"{entry.url}: {error}") from error
    except (OSError, sqlite3.Error) as error:
        raise DatasetError(
            f"dataset {dataset!r} cannot be kept; tell the site", code="data.unreadable", at_host=str(error)
        ) from error


def _cure(name: str, error: Exception) -> str:
    match error:
        case RemoteError(status=401 | 403):
            return f"correct the secret in the file that datasets.{name}.access.token_file names; no restart is needed"
        case RemotePassingError():
            return f"look at the Data API, and at datasets.{name}.url: it does not answer"
        case _:
            return f"look at the Data API and at datasets.{name} in the settings: the reason is its own"

"""A frozen cohort of a PACS, fetched series by series and laid out as it comes."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby

from fedproc.common.tasks import StopFlag, stoppable_alone
from fedproc.site.data.accepted import check_identifying
from fedproc.site.data.api import DatasetError, OnWait
from fedproc.site.data.cohort import Cohort, CohortFile
from fedproc.site.data.index import DatasetIndex
from fedproc.site.data.reading import FileReader
from fedproc.site.data.remote.archive_index import Fetched, note_fetched
from fedproc.site.data.remote.dicomweb import DicomWeb
from fedproc.site.data.remote.file_store import Kept, Store
from fedproc.site.data.remote.http import RemoteHttp
from fedproc.site.data.remote.laying import Laying
from fedproc.site.data.remote.patience import persistently, within_hours
from fedproc.site.data.remote.series_fetch import Receiver, Wanted, kept_series
from fedproc.site.dataset_settings import DatasetSettings

_ENDING = b".dcm"


@dataclass
class CohortFetch:
    """One dataset of one job. ``alone`` is held while a series is fetched: one at a time of a PACS."""

    name: str
    entry: DatasetSettings
    index: DatasetIndex
    store: Store
    laying: Laying
    alone: asyncio.Lock
    on_wait: OnWait
    _reader: FileReader = field(default_factory=FileReader)
    _here: int = 0
    _found: Counter[str] = field(default_factory=Counter)

    async def run(self) -> Cohort:
        """Fetch what is not here, and lay out all of it. May be repeated after it was cut.

        Raises RemoteError, :class:`DatasetError`, OSError, ChangedError.
        """
        await asyncio.to_thread(self.laying.begin)
        files = await asyncio.to_thread(self.laying.files)
        laid = list[CohortFile]()
        try:
            for wanted in _series_of(self.entry.url, files):
                laid += await self._series(wanted, len(files))
                self._here = len(laid)
        finally:
            self.on_wait(None)
            await asyncio.to_thread(self._reader.end)
        return await asyncio.to_thread(self.laying.finish, laid)

    async def _series(self, wanted: Wanted, total: int) -> list[CohortFile]:
        kept = await asyncio.to_thread(kept_series, self.store, wanted)
        if kept is None:
            kept = await self._fetched(wanted, total)
        try:
            await self._check(wanted, kept)
            named = {_path(wanted, uid): one for uid, one in kept.items()}
            self._tell(len(kept), total)
            return await stoppable_alone(self.laying.lay, named)
        finally:
            await asyncio.to_thread(self.store.release, kept.values())

    async def _fetched(self, wanted: Wanted, total: int) -> dict[str, Kept]:
        loop, come = asyncio.get_running_loop(), [0]

        def note(count: int) -> None:
            come[0] = count
            loop.call_soon_threadsafe(self._tell, count, total)

        async with self.alone:
            receive = partial(stoppable_alone, self._receive, wanted, note)
            attempt = partial(within_hours, self.entry.fetching, self.name, receive, self.on_wait)
            return await persistently(self.entry.fetching, self.name, attempt, self.on_wait, lambda: come[0])

    def _receive(self, wanted: Wanted, note: Callable[[int], None], flag: StopFlag) -> dict[str, Kept]:
        entry = self.entry
        with RemoteHttp(entry.url, entry.access, entry.fetching, flag) as http:
            largest, read = entry.fetching.largest_mb << 20, partial(self._reader.read, flag=flag)
            return Receiver(DicomWeb(http), self.store, wanted, largest, read, note).fetch()

    async def _check(self, wanted: Wanted, kept: Mapping[str, Kept]) -> None:
        """Before a job sees it: that it is what came before, and that its site lets it be used."""
        self._found.update(kind for one in kept.values() for kind in one.kinds)
        check_identifying(self.name, self.entry.identifying_accepted, self._found)
        fetched = [Fetched(_path(wanted, uid), bytes.fromhex(one.sha256)) for uid, one in kept.items()]
        if await asyncio.to_thread(note_fetched, self.index, wanted.series, fetched):
            raise DatasetError(
                f"images of dataset {self.name!r} are not what they were when they came before; choose it again",
                code="data.version",
            )

    def _tell(self, count: int, total: int) -> None:
        self.on_wait(f"materialising {self._here + count:,}/{total:,} files")


def _series_of(source: str, files: Iterable[CohortFile]) -> list[Wanted]:
    """Of files in the order of their paths, STUDY/SERIES/INSTANCE.dcm."""
    found = []
    for place, group in groupby(files, key=lambda file: file.path.rpartition(b"/")[0]):
        study, _, series = place.decode().partition("/")
        names = (file.path.rpartition(b"/")[2].removesuffix(_ENDING).decode() for file in group)
        found.append(Wanted(source, study, series, frozenset(names)))
    return found


def _path(wanted: Wanted, uid: str) -> bytes:
    return f"{wanted.study}/{wanted.series}/{uid}".encode() + _ENDING

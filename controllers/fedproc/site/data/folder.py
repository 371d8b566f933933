"""Datasets that are folders named in the host's settings; jobs see the folders themselves, read-only."""

from __future__ import annotations

import asyncio
import json
import shlex
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from fedproc.common.files import read_regular
from fedproc.common.log import get_logger
from fedproc.contract.wire.datasets import DatasetColumns, OfferedDataset
from fedproc.contract.wire.messages import DatasetUse
from fedproc.contract.wire.selection import Selection
from fedproc.site.data.accepted import accepted_in, check_identifying
from fedproc.site.data.api import DatasetCondition, DatasetError, Materialised, OnWait
from fedproc.site.data.background import Looks, Seen
from fedproc.site.data.citing import cited
from fedproc.site.data.columns_offered import column_pages
from fedproc.site.data.frozen import FrozenCohorts, check_persons
from fedproc.site.data.imaging import rounded
from fedproc.site.data.index import Known
from fedproc.site.data.indexer import Indexer
from fedproc.site.data.kinds import kinds_of
from fedproc.site.data.persons import Persons, of_tables
from fedproc.site.dataset_settings import DatasetSettings
from fedproc.tables.problems import TableError

log = get_logger(__name__)

_DAY = 86_400.0
_SHORT_SECONDS = 0.25


class FolderDataApi:
    """The adapter for folders. ``indexes`` is the folder of its indexes.

    ``seconds`` lie between two looks at one dataset, which walk all its files; after ``reread_days`` the bytes of all
    are read again, whatever their times say (0: never). ``on_change`` is called when another thing is offered.
    ``as_seen``: of a dataset at which a look takes longer than :data:`_SHORT_SECONDS` a cohort is of what the last look
    found, and no other is made for it; not where ``verify`` is ``content``.
    """

    def __init__(
        self,
        datasets: Mapping[str, DatasetSettings],
        indexes: Path,
        seconds: float = 60.0,
        reread_days: float = 0.0,
        on_change: Callable[[], None] = lambda: None,
        *,
        as_seen: bool = False,
    ) -> None:
        self._as_seen = as_seen
        self._datasets = datasets
        self._reread_days = reread_days
        self._indexer = Indexer(indexes)
        self._frozen = FrozenCohorts(indexes / "cohorts")
        seen = [Seen(DatasetCondition(name, entry.path), seconds) for name, entry in datasets.items()]
        self._looks = Looks(seen, lambda name: self._looked_at(name, datasets[name]), on_change)
        self._undescribed: dict[str, str | None] = {}
        """why a dataset is offered without columns"""

    async def offers(self) -> tuple[OfferedDataset, ...]:
        return await self._looks.offers()

    def conditions(self) -> tuple[DatasetCondition, ...]:
        return self._looks.conditions(lambda name: _looking(self._indexer.progress(name)))

    def columns(self, floor: int) -> tuple[DatasetColumns, ...]:
        return self._looks.columns(floor)

    async def _looked_at(self, name: str, entry: DatasetSettings) -> None:
        columns = tuple[DatasetColumns, ...]()
        condition = DatasetCondition(name, entry.path)
        try:
            known = await self._indexer.current(name, entry.path, older_than=self._older_than())
            described = await asyncio.to_thread(_described, entry)
            condition = replace(condition, found=known.found)
            check_identifying(name, accepted_in(described), known.found)
            offer = _offer(name, entry, described, known)
            columns = await self._columns_of(offer, entry.path)
            offer = offer.model_copy(update={"kinds": await asyncio.to_thread(kinds_of, entry.path, known, columns)})
            await self._count_images(offer, known)
            condition = replace(condition, offer=offer)
        except (DatasetError, OSError, ValueError) as error:
            text = str(getattr(error, "detail", {}).get("at_host", error))
            condition = replace(condition, problem=text, cure=_cure(name, entry, error))
        self._looks.note(condition, columns)

    async def _count_images(self, offer: OfferedDataset, known: Known) -> None:
        """Of another version alone: of a million series it takes seconds."""
        seen = self._looks.of(offer.id)
        before = seen.condition.offer
        if not known.images:
            seen.imaging = None
        elif seen.imaging is None or before is None or before.version != offer.version:
            images = await asyncio.to_thread(self._indexer.images, offer.id)
            seen.imaging = None if images is None else partial(rounded, images)

    async def _columns_of(self, offer: OfferedDataset, folder: Path) -> tuple[DatasetColumns, ...]:
        """A description that cannot be used hides no dataset: it is offered without columns, and the log says why."""
        columns, reason = tuple[DatasetColumns, ...](), None
        try:
            columns = await asyncio.to_thread(column_pages, offer, folder)
        except (TableError, OSError) as error:
            reason = "\n".join(error.lines(private=True)) if isinstance(error, TableError) else str(error)
        if reason is not None and reason != self._undescribed.get(offer.id):
            log.warning("dataset.not_described", dataset=offer.id, reason=reason)
        self._undescribed[offer.id] = reason
        return columns

    def _older_than(self) -> float:
        return time.time() - self._reread_days * _DAY if self._reread_days else 0.0

    async def freeze(self, use: DatasetUse, selection: Selection | None, job: str, floor: int) -> None:
        cohort = await asyncio.to_thread(self._frozen.known, job, use.id)
        while cohort is None:
            known = await self._chosen(use, lambda _: None)
            async with self._indexer.held(use.id, known) as unchanged:
                if unchanged:
                    cohort = await self._frozen.freeze(job, self._indexer.index(use.id), use.id, known, selection)
            if cohort is not None and selection is None:  # as of a selection, those of images alone are kept
                found = await self._persons_of_all(use.id, known)
                await asyncio.to_thread(self._frozen.keep_persons, job, use.id, found)
        if selection is not None:
            check_persons(cohort, floor)

    async def materialise(self, use: DatasetUse, job: str, on_wait: OnWait) -> Materialised:
        cohort = await asyncio.to_thread(self._frozen.known, job, use.id)
        if cohort is None:
            known = await self._chosen(use, on_wait)
            return Materialised(use.id, known.version, self._entry(use.id).path)
        place = await self._frozen.materialise(job, use.id, self._entry(use.id), cohort, on_wait)
        return Materialised(use.id, cohort.version, place)

    async def _chosen(self, use: DatasetUse, on_wait: OnWait) -> Known:
        """The dataset as it is now, if it may be used, and is what was chosen."""
        entry = self._entry(use.id)
        known = await self._current(use.id, entry, on_wait)
        described = await asyncio.to_thread(_described, entry)
        label = _label(entry, described) or "1"
        if use.version not in {None, known.version, label}:  # a centre of the release before knows the label alone
            raise DatasetError(
                f"dataset {use.id!r} is at version {known.version} now, not {use.version}; choose it again",
                code="data.version",
            )
        check_identifying(use.id, accepted_in(described), known.found)
        return known

    def _entry(self, dataset: str) -> DatasetSettings:
        if (entry := self._datasets.get(dataset)) is None:
            raise DatasetError(f"this host has no dataset {dataset!r}", code="data.unknown")
        return entry

    async def confirm(self, dataset: str, version: str, job: str) -> None:
        entry = self._entry(dataset)
        if await asyncio.to_thread(self._frozen.known, job, dataset) is not None:
            return await self._frozen.confirm(job, dataset, entry)
        if (await self._current(dataset, entry)).version != version:
            raise DatasetError(
                f"dataset {dataset!r} was changed while the job used it: nothing of its results is released; "
                "start the experiment again",
                code="data.changed",
            )

    async def persons(self, dataset: str, version: str, job: str) -> Persons:
        if (found := await asyncio.to_thread(self._frozen.persons, job, dataset)) is not None:
            return found
        known = await asyncio.to_thread(self._indexer.index(dataset).known)
        if dataset not in self._datasets or known is None or known.version != version:
            return Persons()  # of a cohort that a release of before froze, or of what has changed since
        found = await self._persons_of_all(dataset, known)
        await asyncio.to_thread(self._frozen.keep_persons, job, dataset, found)
        return found

    async def _persons_of_all(self, dataset: str, known: Known) -> Persons:
        async with self._indexer.held(dataset, known) as unchanged:
            if not unchanged:
                return Persons()
            images = await asyncio.to_thread(self._indexer.patients, dataset) if known.images else {}
        return Persons({**images, **await asyncio.to_thread(of_tables, self._datasets[dataset].path)})

    async def _current(self, dataset: str, entry: DatasetSettings, on_wait: OnWait = lambda _: None) -> Known:
        """What it is now, as closely as its settings ask for; ``on_wait`` is told how far that has come."""

        def note(looked_at: int, files: int) -> None:
            on_wait(f"materialising {looked_at:,}/{files:,} files")

        if self._as_seen and entry.verify != "content" and (seen := self._indexer.seen(dataset, _SHORT_SECONDS)):
            return seen
        older_than = time.time() if entry.verify == "content" else self._older_than()
        try:
            return await self._indexer.current(dataset, entry.path, note, older_than=older_than)
        except OSError as error:
            raise DatasetError(
                f"dataset {dataset!r} cannot be read; tell the site",
                code="data.unreadable",
                at_host=f"{entry.path}: {error}",
            ) from error
        finally:
            on_wait(None)

    async def discard(self, job: str) -> None:
        """Of a whole dataset nothing was made."""
        await asyncio.to_thread(self._frozen.discard, job, {entry.links for entry in self._datasets.values()})


def _looking(progress: tuple[int, int] | None) -> str | None:
    return None if progress is None else f"looking at its files: {progress[0]:,}/{progress[1]:,}"


def _described(entry: DatasetSettings) -> dict[str, Any]:
    try:
        described = json.loads(read_regular(entry.path / "dataset.json"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise DatasetError(
            "the dataset.json of the dataset cannot be read; tell the site",
            code="data.unreadable",
            at_host=f"{entry.path / 'dataset.json'}: {error}",
        ) from error
    return described if isinstance(described, dict) else {}


def _label(entry: DatasetSettings, described: Mapping[str, Any]) -> str:
    return entry.version or str(described.get("version", ""))


def _cure(name: str, entry: DatasetSettings, error: Exception) -> str:
    match error:
        case DatasetError(code="data.identifying"):
            return _identifying_cure(entry.path, error.detail["kinds"])
        case PermissionError():
            readable = f"setfacl -R -m u:fedproc:rX {shlex.quote(str(entry.path))}"
            return f"let the orchestrator's user read it, and pass the folders above: {readable}"
        case FileNotFoundError() | NotADirectoryError():
            return f"mount or restore it, or correct datasets.{name}.path in the settings and restart the orchestrator"
        case OSError():
            return "look at the disk or the mount: the system says so of the folder itself"
        case _:
            return f"mend {entry.path / 'dataset.json'}: a JSON object with version and description, both text in UTF-8"


def _identifying_cure(path: Path, kinds: Iterable[str]) -> str:
    return (
        f"fedproc data check {path} says which files; de-identify them, or, if they tell of nobody, say so "
        f"in {path / 'dataset.json'}: " + json.dumps({"identifying_accepted": list(kinds)})
    )


def _offer(name: str, entry: DatasetSettings, described: Mapping[str, Any], known: Known) -> OfferedDataset:
    """Raises ValueError for what no message can carry."""
    description = entry.description or str(described.get("description", ""))
    label = _label(entry, described)
    offer = OfferedDataset(
        id=name, version=known.version, label=label, description=description, files=known.files, size=known.size,
        catalogue=entry.catalogue, **cited(entry, described.get("title"), described.get("creators")),
    )  # fmt: skip
    offer.model_dump_json()
    return offer

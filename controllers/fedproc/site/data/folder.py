"""How datasets reach a job: the interface to a site's Data API (D6.1 "Requirements", "Global design", step 1').

Paths stay within the host: the centre knows a dataset as ``HOST:id`` and version only.
"""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from fedproc.common.errors import SystemFaultError
from fedproc.common.files import read_regular
from fedproc.common.log import get_logger
from fedproc.common.tasks import StopFlag, stoppable, watched
from fedproc.contract.wire.datasets import DatasetColumns, OfferedDataset
from fedproc.contract.wire.messages import DatasetUse
from fedproc.site.data.columns_offered import column_pages
from fedproc.site.settings import DatasetSettings
from fedproc.tables.problems import TableError

log = get_logger(__name__)

_FIRST_SECONDS = 1.0
"""that whoever asks waits for looks which go on: most datasets are small"""


class DatasetError(SystemFaultError):
    """A dataset cannot be materialised."""

    code = "data"


@dataclass(frozen=True)
class Materialised:
    """A dataset that was materialised for one job: a folder that the job sees read-only."""

    id: str
    version: str
    path: Path


@dataclass(frozen=True)
class DatasetCondition:
    """How a dataset stands here, for the site's operator alone: it has a path."""

    id: str
    path: Path
    offer: OfferedDataset | None = None
    """None as long as it was not looked at, or cannot be read"""
    problem: str | None = None
    cure: str | None = None


class DataApi(Protocol):
    """What a site's Data API must offer to the orchestrator."""

    async def offers(self) -> tuple[OfferedDataset, ...]:
        """The datasets that this host offers, without any path."""
        ...

    def conditions(self) -> tuple[DatasetCondition, ...]:
        """Each dataset as it was found last."""
        ...

    def columns(self) -> tuple[DatasetColumns, ...]:
        """The columns of all offered datasets, in pages, as their descriptions have them."""
        ...

    async def materialise(self, use: DatasetUse, job: str) -> Materialised:
        """Materialise the dataset for the job. Safe to repeat.

        Raises :class:`DatasetError` with code ``data.unknown``, ``data.version`` or ``data.unreadable``.
        """
        ...

    async def discard(self, job: str) -> None:
        """Remove what was materialised for the job."""
        ...


class FolderDataApi:
    """Datasets that are folders named in the host's settings; jobs see the folders themselves, read-only.

    ``seconds`` lie between two looks at one dataset, which walk all its files.
    """

    def __init__(self, datasets: Mapping[str, DatasetSettings], seconds: float = 60.0) -> None:
        self._datasets = datasets
        self._seconds = seconds
        self._offers: dict[str, OfferedDataset | None] = dict.fromkeys(datasets)
        self._problems: dict[str, tuple[str, str] | None] = {}
        self._undescribed: dict[str, str | None] = {}
        self._columns: dict[str, tuple[DatasetColumns, ...]] = {}
        self._looking: dict[str, asyncio.Task[None]] = {}
        self._next: dict[str, float] = {}

    async def offers(self) -> tuple[OfferedDataset, ...]:
        """As they were when each was looked at last; one that cannot be read is not offered, and logged once."""
        for name, entry in self._datasets.items():
            self._look(name, entry)
        looking = [task for task in self._looking.values() if not task.done()]
        if looking:
            await asyncio.wait(looking, timeout=_FIRST_SECONDS)
        return tuple(offer for offer in self._offers.values() if offer is not None)

    def conditions(self) -> tuple[DatasetCondition, ...]:
        return tuple(
            DatasetCondition(name, entry.path, self._offers[name], *(self._problems.get(name) or (None, None)))
            for name, entry in self._datasets.items()
        )

    def columns(self) -> tuple[DatasetColumns, ...]:
        return tuple(page for name in self._datasets for page in self._columns.get(name, ()))

    def _look(self, name: str, entry: DatasetSettings) -> None:
        """Have it looked at in the background, not again before some time, and not while that goes on."""
        task = self._looking.get(name)
        if task is not None and (not task.done() or time.monotonic() < self._next.get(name, 0.0)):
            return
        looking = asyncio.create_task(self._looked_at(name, entry))
        self._looking[name] = watched(looking, "dataset.not_looked_at", dataset=name)

    async def _looked_at(self, name: str, entry: DatasetSettings) -> None:
        offer, problem = None, None
        columns: tuple[DatasetColumns, ...] = ()
        try:
            offer = await stoppable(_offer, name, entry)
            columns = await self._columns_of(offer, entry.path)
        except (DatasetError, OSError, ValueError) as error:
            text = str(getattr(error, "detail", {}).get("at_host", error))
            problem = text, _cure(name, entry, error)
        if problem is not None and problem != self._problems.get(name):
            log.error("dataset.unreadable", dataset=name, reason=problem[0], cure=problem[1])
        self._offers[name], self._problems[name], self._columns[name] = offer, problem, columns
        self._next[name] = time.monotonic() + self._seconds

    async def _columns_of(self, offer: OfferedDataset, folder: Path) -> tuple[DatasetColumns, ...]:
        """A description that cannot be used hides no dataset: it is offered without columns, and the log says why."""
        columns: tuple[DatasetColumns, ...] = ()
        reason = None
        try:
            columns = await asyncio.to_thread(column_pages, offer, folder)
        except (TableError, OSError) as error:
            reason = "\n".join(error.lines(private=True)) if isinstance(error, TableError) else str(error)
        if reason is not None and reason != self._undescribed.get(offer.id):
            log.warning("dataset.not_described", dataset=offer.id, reason=reason)
        self._undescribed[offer.id] = reason
        return columns

    async def materialise(self, use: DatasetUse, job: str) -> Materialised:
        entry = self._datasets.get(use.id)
        if entry is None:
            raise DatasetError(f"this host has no dataset {use.id!r}", code="data.unknown")
        version = await asyncio.to_thread(_version, entry)
        if use.version is not None and use.version != version:
            raise DatasetError(
                f"dataset {use.id!r} is at version {version} now, not {use.version}; choose it again",
                code="data.version",
            )
        if not entry.path.is_dir():
            raise DatasetError(f"the folder of dataset {use.id!r} is not there; tell the site", code="data.unreadable")
        return Materialised(use.id, version, entry.path)

    async def discard(self, job: str) -> None:
        """Nothing was copied, so nothing is to be removed."""


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


def _version(entry: DatasetSettings) -> str:
    return entry.version or str(_described(entry).get("version", "1"))


def _cure(name: str, entry: DatasetSettings, error: Exception) -> str:
    match error:
        case PermissionError():
            readable = f"setfacl -R -m u:fedproc:rX {shlex.quote(str(entry.path))}"
            return f"let the orchestrator's user read it, and pass the folders above: {readable}"
        case FileNotFoundError() | NotADirectoryError():
            return f"mount or restore it, or correct datasets.{name}.path in the settings and restart the orchestrator"
        case OSError():
            return "look at the disk or the mount: the system says so of the folder itself"
        case _:
            return f"mend {entry.path / 'dataset.json'}: a JSON object with version and description, both text in UTF-8"


def _offer(name: str, entry: DatasetSettings, flag: StopFlag) -> OfferedDataset:
    """Raises OSError, ValueError or :class:`DatasetError` if the folder, or its ``dataset.json``, cannot be read."""
    next(entry.path.iterdir(), None)
    sizes = list(_sizes(entry.path, flag))
    description = entry.description or str(_described(entry).get("description", ""))
    offer = OfferedDataset(id=name, version=_version(entry), description=description, files=len(sizes), size=sum(sizes))
    offer.model_dump_json()  # raises ValueError for what no message can carry
    return offer


def _sizes(folder: Path, flag: StopFlag) -> Iterator[int]:
    """Of its files; what goes, or cannot be read, while it is walked is not counted."""
    for below, _, names in os.walk(folder):
        flag.check()
        for name in names:
            with suppress(OSError):
                found = Path(below, name).stat()
                if stat.S_ISREG(found.st_mode):
                    yield found.st_size

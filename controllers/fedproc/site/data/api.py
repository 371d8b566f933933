"""How datasets reach a job: the interface to a site's Data API (D6.1 "Requirements", "Global design", step 1').

Paths stay within the host: the centre knows a dataset as ``HOST:id`` and version only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from fedproc.common.errors import SystemFaultError
from fedproc.contract.wire.datasets import DatasetColumns, OfferedDataset
from fedproc.contract.wire.messages import DatasetUse
from fedproc.contract.wire.selection import Selection
from fedproc.site.data.persons import Persons

OnWait = Callable[[str | None], None]
"""is told what a job waits for, in words"""


class DatasetError(SystemFaultError):
    """A dataset cannot be materialised."""

    code = "data"


@dataclass(frozen=True)
class Materialised:
    """A dataset that was materialised for one job: a folder that the job sees read-only.

    ``version`` follows from its content, and is looked at again when the job has ended.
    """

    id: str
    version: str
    path: Path


@dataclass(frozen=True)
class DatasetCondition:
    """How a dataset stands here, for the site's operator alone: it has a path, or the address of a PACS or Data API."""

    id: str
    path: Path | str
    offer: OfferedDataset | None = None
    """None as long as it was not looked at, or cannot be read"""
    problem: str | None = None
    cure: str | None = None
    progress: str | None = None
    """how far the look at its files has come, while one goes on"""
    found: Mapping[str, int] = field(default_factory=dict)
    """how many files have each problem, by its code"""


class DataApi(Protocol):
    """What a site's Data API must offer to the orchestrator."""

    async def offers(self) -> tuple[OfferedDataset, ...]:
        """The datasets that this host offers, without any path."""
        ...

    def conditions(self) -> tuple[DatasetCondition, ...]:
        """Each dataset as it was found last."""
        ...

    def columns(self, floor: int) -> tuple[DatasetColumns, ...]:
        """The columns of all offered datasets, in pages, as their descriptions have them.

        The first page has what the dataset's images are, if it has any, in numbers rounded by ``floor``, persons.
        """
        ...

    async def freeze(self, use: DatasetUse, selection: Selection, job: str, floor: int) -> None:
        """Freeze for the job what is selected of the dataset: it is what the job is given. Safe to repeat.

        Raises :class:`DatasetError` as :meth:`materialise` does, and RefusedError with code ``policy.selection`` if
        fewer than ``floor`` persons (or nobody) are in it, or fewer but some are left out of it.
        """
        ...

    async def materialise(self, use: DatasetUse, job: str, on_wait: OnWait) -> Materialised:
        """Materialise the dataset for the job, or what was frozen of it. Safe to repeat.

        Raises :class:`DatasetError` with code ``data.unknown``, ``data.version``, ``data.identifying`` or
        ``data.unreadable``.
        """
        ...

    async def confirm(self, dataset: str, version: str, job: str) -> None:
        """Whether what the job was given is still of this version, now that it has ended.

        Raises :class:`DatasetError` with code ``data.changed``, or ``data.unreadable`` if that cannot be seen.
        """
        ...

    async def persons(self, dataset: str, version: str, job: str) -> Persons:
        """Who is in what the job was given of the dataset, as far as that can be told.

        To be asked for while it is still of that version, and kept from then on for as long as the job is here. Raises
        OSError.
        """
        ...

    async def discard(self, job: str) -> None:
        """Remove what was materialised for the job."""
        ...

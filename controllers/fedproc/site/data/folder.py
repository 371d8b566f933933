"""How datasets reach a job: the interface to a site's Data API (D6.1 "Requirements", "Global design", step 1').

Paths stay within the host: the centre knows a dataset as ``HOST:id`` and version only.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from fedproc.common.errors import SystemFaultError
from fedproc.contract.wire.messages import DatasetUse, OfferedDataset
from fedproc.site.settings import DatasetSettings


class DatasetError(SystemFaultError):
    """A dataset cannot be materialised."""

    code = "data"


@dataclass(frozen=True)
class Materialised:
    """A dataset that was materialised for one job: a folder that the job sees read-only."""

    id: str
    version: str
    path: Path


class DataApi(Protocol):
    """What a site's Data API must offer to the orchestrator."""

    async def offers(self) -> tuple[OfferedDataset, ...]:
        """The datasets that this host offers, without any path."""
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
    """Datasets that are folders named in the host's settings; jobs see the folders themselves, read-only."""

    def __init__(self, datasets: Mapping[str, DatasetSettings]) -> None:
        self._datasets = datasets

    async def offers(self) -> tuple[OfferedDataset, ...]:
        return tuple([await asyncio.to_thread(_offer, name, entry) for name, entry in self._datasets.items()])

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
        described = json.loads((entry.path / "dataset.json").read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise DatasetError(f"{entry.path / 'dataset.json'} cannot be read: {error}", code="data.unreadable") from error
    return described if isinstance(described, dict) else {}


def _version(entry: DatasetSettings) -> str:
    return entry.version or str(_described(entry).get("version", "1"))


def _offer(name: str, entry: DatasetSettings) -> OfferedDataset:
    sizes = [path.stat().st_size for path in entry.path.rglob("*") if path.is_file()]
    description = entry.description or str(_described(entry).get("description", ""))
    return OfferedDataset(id=name, version=_version(entry), description=description, files=len(sizes), size=sum(sizes))

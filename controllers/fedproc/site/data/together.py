"""All of a host's datasets, whatever their sources: each is asked of the adapter that has it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from fedproc.contract.wire.datasets import DatasetColumns, OfferedDataset
from fedproc.contract.wire.messages import DatasetUse
from fedproc.contract.wire.selection import Selection
from fedproc.site.data.api import DataApi, DatasetCondition, DatasetError, Materialised, OnWait
from fedproc.site.data.persons import Persons


class TogetherDataApi:
    """``adapters`` each have some datasets; ``by_dataset`` says which."""

    def __init__(self, adapters: Sequence[DataApi], by_dataset: Mapping[str, DataApi]) -> None:
        self._by_dataset = by_dataset
        self._all = adapters

    async def offers(self) -> tuple[OfferedDataset, ...]:
        offered = await asyncio.gather(*(one.offers() for one in self._all))
        return tuple(offer for offers in offered for offer in offers)

    def conditions(self) -> tuple[DatasetCondition, ...]:
        found = {condition.id: condition for one in self._all for condition in one.conditions()}
        return tuple(found[name] for name in self._by_dataset)

    def columns(self, floor: int) -> tuple[DatasetColumns, ...]:
        return tuple(page for one in self._all for page in one.columns(floor))

    async def freeze(self, use: DatasetUse, selection: Selection, job: str, floor: int) -> None:
        await self._adapter(use.id).freeze(use, selection, job, floor)

    async def materialise(self, use: DatasetUse, job: str, on_wait: OnWait) -> Materialised:
        return await self._adapter(use.id).materialise(use, job, on_wait)

    async def confirm(self, dataset: str, version: str, job: str) -> None:
        await self._adapter(dataset).confirm(dataset, version, job)

    async def persons(self, dataset: str, version: str, job: str) -> Persons:
        adapter = self._by_dataset.get(dataset)
        return Persons() if adapter is None else await adapter.persons(dataset, version, job)

    async def discard(self, job: str) -> None:
        """Of all of them: a dataset that the job had may have gone from the settings."""
        for one in self._all:
            await one.discard(job)

    def _adapter(self, dataset: str) -> DataApi:
        if (adapter := self._by_dataset.get(dataset)) is None:
            raise DatasetError(f"this host has no dataset {dataset!r}", code="data.unknown")
        return adapter

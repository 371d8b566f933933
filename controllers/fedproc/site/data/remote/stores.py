"""The stores of a host's remote datasets: one for each folder that its settings name."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from fedproc.common.tasks import StopFlag
from fedproc.site.data.remote.file_store import Store
from fedproc.site.dataset_settings import DatasetSettings


class Stores:
    """``usual`` is the folder of those datasets whose settings name none."""

    def __init__(self, usual: Path) -> None:
        self._usual = usual
        self._stores: dict[Path, Store] = {}

    def of(self, entry: DatasetSettings) -> Store:
        """That of a dataset; of several with one folder the largest limit counts."""
        folder, limit = entry.fetching.store or self._usual, entry.fetching.store_mb * 10**6
        store = self._stores.setdefault(folder, Store(folder, limit))
        store.limit = max(store.limit, limit)
        return store

    def all(self, entries: Iterable[DatasetSettings]) -> set[Store]:
        """Those of these datasets, and the usual one, in which there may be what is left of others."""
        usual = self._stores.setdefault(self._usual, Store(self._usual, 0))
        return {usual, *(self.of(entry) for entry in entries)}

    def expire(self, entry: DatasetSettings, _flag: StopFlag) -> None:
        """Have what no job has used for too long go. Blocks."""
        if entry.fetching.store_days:
            self.of(entry).expire(entry.fetching.store_days)

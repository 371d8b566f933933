"""The Data API of a host as its settings have it."""

from __future__ import annotations

from collections.abc import Callable

from fedproc.site.data.api import DataApi
from fedproc.site.data.folder import FolderDataApi
from fedproc.site.data.remote.archive import ArchiveDataApi
from fedproc.site.data.remote.dataset_service import AccessedDataApi, OrderOf
from fedproc.site.data.remote.site_api import SiteDataApi, TokenOf
from fedproc.site.data.remote.stores import Stores
from fedproc.site.data.together import TogetherDataApi
from fedproc.site.dataset_settings import DatasetSettings
from fedproc.site.settings import SiteSettings


def data_api(loaded: SiteSettings, on_change: Callable[[], None], token_of: TokenOf, order_of: OrderOf) -> DataApi:
    """What the orchestrator asks: folders, PACS and Data APIs behind one interface.

    ``token_of`` gives a job's user's token for this host, for Data APIs that want it; ``order_of`` a job's order, for
    dataset-services that are told.
    """
    indexes, days = loaded.state / "datasets", loaded.dataset_reread_days
    stores = Stores(loaded.state / "fetched")
    adapters: dict[str, DataApi] = {
        "folder": FolderDataApi(_of(loaded, "folder"), indexes, loaded.dataset_seconds, days, on_change),
        "dicomweb": ArchiveDataApi(_of(loaded, "dicomweb"), indexes, stores, days, on_change),
        "http": SiteDataApi(_of(loaded, "http"), indexes, stores, token_of, on_change),
    }
    by_dataset = {name: adapters[entry.source] for name, entry in loaded.datasets.items()}
    together = TogetherDataApi([*adapters.values()], by_dataset)
    if not any(entry.service for entry in loaded.datasets.values()):
        return together
    return AccessedDataApi(together, loaded.datasets, indexes / "accesses", order_of)


def _of(loaded: SiteSettings, source: str) -> dict[str, DatasetSettings]:
    return {name: entry for name, entry in loaded.datasets.items() if entry.source == source}

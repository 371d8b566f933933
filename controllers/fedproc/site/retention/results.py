"""What the host's own Data API lists as released: it goes by age."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from fedproc.common.log import get_logger
from fedproc.common.tasks import in_own_thread
from fedproc.site.data.results import Results
from fedproc.site.retention.kept import Item, Kept, OneByOne, due_before, figures

log = get_logger(__name__)


class ReleasedResults:
    """Those in ``folder``, if the site has one. Days of 0 keep them for good."""

    name = "results"

    def __init__(self, folder: Path | None, days: float) -> None:
        self._folder = folder
        self._days = days
        self._removing = OneByOne(self.name)

    async def survey(self, now: float) -> Kept:
        items = await in_own_thread(self._items)
        return figures(self.name, "released results, as this host's Data API lists them", items, self._days, now)

    async def remove(self, now: float) -> int:
        limit = due_before(self._days, now)
        items = await in_own_thread(self._items)
        return await self._removing.remove_first((item.name for item in items if item.at < limit), self._discard)

    async def _discard(self, job: str) -> bool:
        if self._folder is not None:
            await in_own_thread(Results(self._folder).remove, job)
        return True

    def _items(self) -> list[Item]:
        if self._folder is None:
            return []
        found = []
        for name in Results(self._folder).names():
            with suppress(FileNotFoundError):
                stat = (self._folder / f"{name}.json").stat()
                found.append(Item(name, stat.st_mtime, stat.st_size))
        return found

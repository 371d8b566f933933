"""What was fetched from a PACS or a Data API and is kept (:mod:`fedproc.site.data.remote.file_store`): counted here.

What no job uses goes by ``fetching.store_days`` and ``store_mb`` with the next look at its dataset, and never here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from fedproc.common.tasks import in_own_thread
from fedproc.site.retention.kept import DAY, Kept
from fedproc.site.settings import SiteSettings


class FetchedFiles:
    """Those of all stores of a host."""

    name = "fetched"

    def __init__(self, settings: SiteSettings) -> None:
        usual = settings.state / "fetched"
        remote = [entry.fetching for entry in settings.datasets.values() if entry.source != "folder"]
        self._days = {usual: 0.0} | {fetching.store or usual: 0.0 for fetching in remote}
        for fetching in remote:
            folder = fetching.store or usual
            self._days[folder] = max(self._days[folder], fetching.store_days)

    async def survey(self, now: float) -> Kept:
        return await in_own_thread(self._survey, now)

    async def remove(self, now: float) -> int:
        """None by age alone: whoever fetches knows what it is about to use."""
        return 0

    def _survey(self, now: float) -> Kept:
        found = [(stat, days) for folder, days in self._days.items() for stat in _files(folder)]
        goes = [stat.st_atime + days * DAY for stat, days in found if stat.st_nlink == 1 and days]
        return Kept(
            self.name,
            "files fetched from a PACS or a Data API",
            count=len(found),
            size=sum(stat.st_size for stat, _ in found),
            oldest=min((stat.st_atime for stat, _ in found), default=None),
            days=max(self._days.values(), default=0.0) or None,
            due=sum(at < now for at in goes),
            following=min((at for at in goes if at >= now), default=None),
        )


def _files(folder: Path) -> Iterator[os.stat_result]:
    """Of files that jobs use, too: a link of theirs takes no room."""
    for below, _, names in os.walk(folder / "files"):
        for name in names:
            with suppress(OSError):
                yield os.stat(Path(below, name), follow_symlinks=False)  # noqa: PTH116

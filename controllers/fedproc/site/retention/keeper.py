"""Removes what is over, kind by kind and in small batches, beside the jobs; and says what is kept."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from dataclasses import replace
from functools import partial

from fedproc.common.errors import FedprocError
from fedproc.common.log import get_logger
from fedproc.site.jobs.orchestrator import Orchestrator
from fedproc.site.jobs.services import Services
from fedproc.site.retention.fetched import FetchedFiles
from fedproc.site.retention.folders import ExecutorRecords, JobFolders, PackageCache
from fedproc.site.retention.journal import ended_at, kinds_of
from fedproc.site.retention.kept import Kept, Kind
from fedproc.site.retention.releases import Releases
from fedproc.site.retention.results import ReleasedResults
from fedproc.site.retention.tools import ToolRuntimes, Tools

log = get_logger(__name__)

_FIRST_SECONDS = 30.0
"""after the start, when recovered jobs are under way again"""
_PAUSE = 0.05
"""seconds between two batches, for the jobs"""


class Retention:
    """One host's. ``kept`` is what the last look found, for who asks often."""

    def __init__(self, services: Services, orchestrator: Orchestrator) -> None:
        self._services = services
        self._orchestrator = orchestrator
        self._kinds = self._all_kinds()
        self._removed: Counter[str] = Counter()
        self._turn = asyncio.Lock()
        self._since = math.inf
        self.kept: tuple[Kept, ...] = ()

    async def run(self) -> None:
        """Clean until cancelled, once in ``pass_seconds``. No fault ends it: what fails is tried again then."""
        await asyncio.sleep(_FIRST_SECONDS)
        while True:
            await self._clean_and_survey()
            await asyncio.sleep(self._services.settings.retention.pass_seconds)

    async def _clean_and_survey(self) -> None:
        try:
            await self.clean()
            await self.survey()
        except FedprocError as error:
            log.error("retention.not_done", reason=error.message)

    async def clean(self) -> None:
        """Remove all that is due. By a clock that is wrong nothing is: it might be everything."""
        clock = self._services.identity.clock
        if not clock.compared:
            log.info("retention.waits", reason="the centre's time is not known yet")
            return
        if not clock.trusted:
            log.warning("retention.waits", reason=f"this host's clock is {clock.skew:.0f} s off")
            return
        async with self._turn:
            self._since = await self._services.journal.retention_since()
            for kind in self._kinds:
                removed = await self._clean(kind, clock.now().timestamp())
                if removed:
                    log.info("retention.removed", kind=kind.name, count=removed)

    async def _clean(self, kind: Kind, now: float) -> int:
        removed = 0
        try:
            while batch := await kind.remove(now):
                removed += batch
                self._removed[kind.name] += batch
                await asyncio.sleep(_PAUSE)
        except Exception as error:
            log.error("retention.failed", kind=kind.name, reason=str(error), exc_info=error)
        return removed

    async def survey(self) -> tuple[Kept, ...]:
        """Count what is kept now. A kind that cannot be looked at is left out, and logged."""
        now = self._services.identity.clock.now().timestamp()
        async with self._turn:
            self._since = await self._services.journal.retention_since()
            found = [await self._survey(kind, now) for kind in self._kinds]
        self.kept = tuple(kept for kept in found if kept is not None)
        return self.kept

    async def _survey(self, kind: Kind, now: float) -> Kept | None:
        try:
            return replace(await kind.survey(now), removed=self._removed[kind.name])
        except Exception as error:
            log.error("retention.not_counted", kind=kind.name, reason=str(error), exc_info=error)
            return None

    def _all_kinds(self) -> list[Kind]:
        services, days = self._services, self._services.settings.retention
        ended = partial(ended_at, services.journal)
        asked = (lambda: services.policy, self._in_use, lambda: self._since)
        return [
            *kinds_of(services.journal, days),
            JobFolders(services.settings.state / "jobs", days.job_folders_days, self._is_open, ended),
            ExecutorRecords(services.executor, days.executor_records_days, self._is_open),
            *(ToolRuntimes(kind, services.tool_cache, days.runtimes_days, *asked) for kind in services.runtimes.kinds),
            Tools(services.tool_cache, days.tools_days, *asked),
            PackageCache(services.settings.state, days.packages_days),
            Releases(services.ledger, days.ledger_days),
            ReleasedResults(services.settings.results, days.results_days),
            FetchedFiles(services.settings),
        ]

    def _is_open(self, job: str) -> bool:
        orchestrator = self._orchestrator
        return job in orchestrator.runs or job in orchestrator.leftovers or orchestrator.cannot_end(job)

    def _in_use(self) -> set[str]:
        return {run.record.order.tool.digest for run in list(self._orchestrator.runs.values())}

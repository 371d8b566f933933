"""What the parts of one orchestrator share."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from fedproc.site.connections import Connections
from fedproc.site.data_api import DataApi
from fedproc.site.executors.base import Executor, Handle
from fedproc.site.identity import Identity
from fedproc.site.journal import Journal
from fedproc.site.policy import Policy
from fedproc.site.resources import Pool
from fedproc.site.settings import SiteSettings
from fedproc.site.toolbox import Runtimes, Toolbox
from fedproc.site.transfer import Transfer
from fedproc.site.workspace import Workspace


@dataclass
class Host:
    """One host's services. ``policy`` is replaced when the site reloads its policy file."""

    settings: SiteSettings
    identity: Identity
    journal: Journal
    pool: Pool
    toolbox: Toolbox
    runtimes: Runtimes
    executor: Executor
    data: DataApi
    transfer: Transfer
    policy: Policy
    connections: Connections | None = None

    async def take_away(self, job: str, handle: Handle | None) -> None:
        """Take away all that an ended job left here; safe to repeat."""
        if handle is not None:
            await self.executor.discard(handle)
        await self.data.discard(job)
        if not self.settings.keep_job_folders:
            await asyncio.to_thread(Workspace(self.settings.state / "jobs", job).remove)
        self.pool.release(job)

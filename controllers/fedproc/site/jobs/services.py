"""What the parts of one orchestrator share."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from fedproc.site.centre.api import Transfer
from fedproc.site.centre.identity import Identity
from fedproc.site.connections.hub import Connections
from fedproc.site.data.folder import DataApi
from fedproc.site.executors.base import Executor, Handle
from fedproc.site.jobs.resources import Pool
from fedproc.site.jobs.workspace import Workspace
from fedproc.site.journal import Journal
from fedproc.site.policy.rules import Policy
from fedproc.site.settings import SiteSettings
from fedproc.site.tools.cache import Runtimes, Toolbox


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

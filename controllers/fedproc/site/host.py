"""What the parts of one orchestrator share."""

from __future__ import annotations

from dataclasses import dataclass

from fedproc.site.connections import Connections
from fedproc.site.data_api import DataApi
from fedproc.site.executors.base import Executor
from fedproc.site.identity import Identity
from fedproc.site.journal import Journal
from fedproc.site.policy import Policy
from fedproc.site.resources import Pool
from fedproc.site.settings import SiteSettings
from fedproc.site.toolbox import Runtimes, Toolbox
from fedproc.site.transfer import Transfer


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

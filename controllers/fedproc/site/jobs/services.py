"""What the parts of one orchestrator share."""

from __future__ import annotations

from dataclasses import dataclass, field

from fedproc.site.centre.api import Transfer
from fedproc.site.centre.identity import Identity
from fedproc.site.centre.signals import Signals
from fedproc.site.connections.hub import Connections
from fedproc.site.data.api import DataApi
from fedproc.site.executors.base import Executor
from fedproc.site.jobs.holds import Holds
from fedproc.site.jobs.resources.pool import Pool
from fedproc.site.jobs.submissions import Submissions
from fedproc.site.jobs.workspace import Workspace
from fedproc.site.journal import Journal
from fedproc.site.policy.ledger.ledger import Ledger
from fedproc.site.policy.policy_file import Policy
from fedproc.site.settings import SiteSettings
from fedproc.site.tlog.log import HostLog
from fedproc.site.tools.cache import ToolCache
from fedproc.site.tools.choosing import TaskRuntimes


@dataclass
class Services:
    """One host's services. ``policy`` is replaced when the site reloads its policy file."""

    settings: SiteSettings
    signals: Signals
    identity: Identity
    journal: Journal
    holds: Holds
    pool: Pool
    tool_cache: ToolCache
    runtimes: TaskRuntimes
    executor: Executor
    data: DataApi
    transfer: Transfer
    policy: Policy
    tlog: HostLog
    connections: Connections | None = None
    ledger: Ledger = field(init=False)
    submissions: Submissions = field(init=False, default_factory=Submissions)

    def __post_init__(self) -> None:
        self.ledger = Ledger(self.settings.state / "ledger", clock=lambda: self.identity.clock.now().timestamp())

    def workspace(self, job: str) -> Workspace:
        """The folders of a job."""
        return Workspace(self.settings.state / "jobs", job)

"""What the journal keeps of one job: its order and everything that has happened to it here."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict

from fedproc.common.errors import SystemFaultError
from fedproc.contract.states import TERMINAL, JobState, may_follow
from fedproc.contract.times import now
from fedproc.contract.tool.privacy import Spent
from fedproc.contract.wire.messages import Cancel, ConnectionUse, JobOrder, Output, Snapshot, Start, Used
from fedproc.contract.wire.release import ReleaseStage
from fedproc.site.executors.base import Handle
from fedproc.site.jobs.reviewing import Decision, Review
from fedproc.site.jobs.verdict import Verdict
from fedproc.site.policy.policy_file import Terms
from fedproc.site.tlog.entries import RuleUsed

_SHARED = Snapshot.model_fields.keys() - {"host", "epoch", "job", "experiment"}


class EndStep(StrEnum):
    """What is done when a job ends, in this order."""

    processes = "processes"
    """no process of it is left"""
    share = "share"
    """what it held goes back to the pool"""
    connections = "connections"
    report = "report"
    """its terminal state is journalled, and on its way to the centre"""
    executor = "executor"
    """forgets the job"""
    data = "data"
    """what was materialised for it is removed"""
    folder = "folder"


class JobRecord(BaseModel):
    """Mutable; saved whole by the journal after each change."""

    model_config = ConfigDict(extra="ignore", defer_build=True)

    order: JobOrder
    state: JobState = JobState.accepted
    sequence: int = 1
    code: str | None = None
    reason: str | None = None
    ready: bool = False
    waiting_for: str | None = None
    times: dict[str, datetime] = {}
    executor: str | None = None
    runtime: str | None = None
    command: tuple[str, ...] = ()
    exit_code: int | None = None
    used: Used = Used()
    used_before: Used | None = None
    """what of it the steps used that are over"""
    outputs: tuple[Output, ...] = ()
    artefacts: tuple[Output, ...] = ()
    connections: tuple[ConnectionUse, ...] = ()
    laid_out: datetime | None = None
    """when all was laid out ahead, by this host's clock"""
    proceed: bool = False
    """its experiment, of which it was laid out ahead, is started"""
    start: Start | None = None
    finish: bool = False
    cancel: Cancel | None = None
    share: dict[str, Any] | None = None
    share_until: datetime | None = None
    """when it gives its share back at the latest, by this host's clock"""
    handle: dict[str, Any] | None = None
    step: int = 0
    """which of the prepare steps and the command ``handle`` belongs to"""
    discarding: dict[str, Any] | None = None
    """the handle of the step before, until the executor has forgotten it"""
    versions: dict[str, str] = {}
    """by dataset: the version that was laid out for it"""
    granted: datetime | None = None
    """when the centre last said that its user may use its datasets"""
    terms: Terms | None = None
    """what the site's policy said of its outputs when it was admitted"""
    masked: frozenset[str] = frozenset()
    """the outputs that leave masked, as its tool and its parameters have it"""
    own_parameters: frozenset[str] = frozenset()
    """which of its parameters may be others on other hosts, as its tool has it"""
    private: Spent | None = None
    """what its parameters bound its privacy loss by"""
    sealed: dict[str, str] | None = None
    tails: dict[str, tuple[int, int]] = {}
    """by stream: how many bytes of it were sent, in how many records"""
    review: Review | None = None
    """what waits for a person, and what persons have said"""
    decision: Decision | None = None
    leaving: dict[str, str] | None = None
    """of ``sealed`` what the site lets leave, once it does"""
    release: ReleaseStage | None = None
    """as its researcher sees it"""
    streams: tuple[str, ...] | None = None
    """what leaves while it runs, as the transparency log has it since its start"""
    rules: tuple[RuleUsed, ...] = ()
    """those by which its outputs were looked at last: the edition of all, and each that found something"""
    noted: str | None = None
    """a hash of the release that the transparency log has noted last"""
    verdict: Verdict | None = None
    """how it ends; nothing but its end goes on from then"""
    remaining: tuple[EndStep, ...] | None = None
    """what is left of its end"""

    @property
    def job(self) -> str:
        return self.order.job

    @property
    def handles(self) -> list[Handle]:
        """All that the executor may know of it."""
        return [known for known in (self.discarding, self.handle) if known is not None]

    def given_to(self, named: Collection[str]) -> str | None:
        """The executor that a daemon before this one may have submitted it to, and that it stays at.

        A job that only waits for its gang may go elsewhere, where the settings name another one (``named``) now.
        """
        waits = self.order.gang and self.start is None
        if self.state is not JobState.prepared or (waits and self.executor not in named):
            return None
        return self.executor

    @property
    def ended(self) -> bool:
        return self.state in TERMINAL

    def enter(self, state: JobState) -> None:
        """Move to ``state`` by the one table. Raises :class:`SystemFaultError` for an illegal move."""
        if not may_follow(self.state, state):
            raise SystemFaultError(
                f"job {self.job}: {self.state} may not become {state}", code="system_fault.transition"
            )
        self.state = state
        self.times[state.value] = now()
        self.waiting_for = None

    def snapshot(self, host: str, epoch: str) -> Snapshot:
        """The job's whole state, as it goes to the centre."""
        shared = {name: getattr(self, name) for name in _SHARED}
        return Snapshot(host=host, epoch=epoch, job=self.job, experiment=self.order.experiment, **shared)

    def snapshot_event(self, host: str, epoch: str) -> tuple[str, str]:
        """The snapshot as the outbox takes it: its type, and its JSON."""
        return "snapshot", self.snapshot(host, epoch).model_dump_json(exclude_defaults=True)

    def as_json(self) -> dict[str, Any]:
        """As the journal keeps it."""
        return self.model_dump(mode="json", exclude_defaults=True) | {"state": self.state.value}

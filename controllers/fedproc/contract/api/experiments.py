"""``/experiments`` and ``/tasks``: what runs, how it goes on, what it gave."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from pydantic import AwareDatetime, Field, model_validator

from fedproc.contract.api.base import Line, Request, View, shown
from fedproc.contract.ids import DatasetRef, ExperimentId, HostId, JobId, ToolId
from fedproc.contract.plain import PlainJson
from fedproc.contract.states import ExperimentState, JobState
from fedproc.contract.wire.crypt4gh import PublicKey
from fedproc.contract.wire.messages import ConnectionUse
from fedproc.contract.wire.selection import Selection


class RunRequest(Request):
    """``POST /tools/job/{tool_name}``: what ``POST /experiments`` takes; the path names the tool."""

    model_config = shown({"datasets": ["UB:breast-cohort", "BSC:breast-cohort"], "label": "first look"})

    version: str | None = Field(None, max_length=64, description="the newest approved one unless given")
    hosts: list[HostId] = Field(default_factory=list, max_length=2000)
    datasets: list[DatasetRef] = Field(default_factory=list, max_length=5000)
    selection: Selection | None = Field(None, description="of all datasets: these images alone; all unless given")
    dataset_selections: dict[DatasetRef, Selection] = Field({}, max_length=5000, description="of one, instead")
    parameters: PlainJson = {}
    host_parameters: dict[HostId, PlainJson] = {}
    label: Line | None = Field(None, max_length=200)
    project: Line | None = Field(None, max_length=200)
    permit: Line | None = Field(None, max_length=200)
    purpose: Line | None = Field(None, max_length=500)
    encrypt_to: PublicKey | None = Field(
        None,
        description="a Crypt4GH public key: hosts encrypt released results to it",
    )
    prepare: bool = Field(
        False, description="have the hosts lay out data and tool, and begin at POST /experiments/{id}/start alone; "
        "start_within bounds how long that is held"
    )  # fmt: skip
    start_within: int = Field(24 * 3600, ge=10, le=90 * 86400, description="seconds; else jobs expire")
    lost_after: int | None = Field(
        None, ge=300, le=90 * 86400, description="seconds of silence of a host, then its jobs are lost; never before "
        "their last deadline unless given",
    )  # fmt: skip

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        for what, values in (("hosts", self.hosts), ("datasets", self.datasets)):
            if len(set(values)) != len(values):
                raise ValueError(f"{what}: each may be named once only")
        return self


class ExperimentRequest(RunRequest):
    """``POST /experiments``. Hosts left out are those of the datasets."""

    model_config = shown(
        {
            "tool": "cohort-statistics",
            "datasets": ["UB:breast-cohort", "BSC:breast-cohort", "FORTH:breast-cohort"],
            "parameters": {},
            "label": "first look",
        }
    )

    tool: ToolId


class Loss(Request):
    """``POST /experiments/{experiment_id}/lost`` by an operator; the reason is kept in the audit."""

    model_config = shown({"reason": "UB was shut down on Monday, and does not come back"})

    reason: Line = Field(min_length=1, max_length=400)
    jobs: list[JobId] = Field([], max_length=5000, description="these alone; all that are open unless given")


class ReleaseView(View):
    """How far the site's release of a job's outputs is; ``text`` is the same for all jobs of a stage, but for dates."""

    stage: str = Field(description="under_review, released, partly_released, refused or withheld")
    text: str
    since: AwareDatetime | None = Field(None, description="when the outputs began to wait for a person")
    until: AwareDatetime | None = Field(None, description="by when it is decided: what is not, stays at the host")
    decided: AwareDatetime | None = None


class JobView(View):
    id: JobId
    experiment: ExperimentId
    host: HostId
    task: str
    state: JobState
    code: str | None = None
    reason: str | None = None
    waiting_for: str | None = None
    laid_out: bool = Field(False, description="all that it needs was laid out ahead; it waits for the start")
    unreachable: bool = Field(False, description="its host has not been heard of for three heartbeats")
    times: dict[str, AwareDatetime] = {}
    exit_code: int | None = None
    release: ReleaseView | None = Field(None, description="where a person of the site is, or was, asked")
    connections: list[ConnectionUse] = Field([], description="over its declared connections, once it has ended")


class ExperimentView(View):
    id: ExperimentId
    state: ExperimentState
    tool: ToolId
    version: str
    digest: str
    label: str | None = None
    owner: str
    owner_name: str | None = Field(None, description="as the owner was called when the experiment was started")
    created: AwareDatetime
    ended: AwareDatetime | None = None
    parameters: dict[str, Any] = {}
    host_parameters: dict[str, dict[str, Any]] = {}
    datasets: list[str] = []
    selection: dict[str, Any] | None = None
    dataset_selections: dict[str, dict[str, Any]] = {}
    project: str | None = None
    permit: str | None = None
    purpose: str | None = None
    told_by: dict[str, str] | None = Field(
        None,
        description="project, permit and purpose: the provider whose word it is; else it is the owner's. Null: that is"
        " not known of an experiment of a release before",
    )
    encrypt_to: str | None = Field(None, description="the Crypt4GH public key to which its results are encrypted")
    cancel_requested: bool = False
    held: bool = Field(False, description="prepare was asked for, and it is not started yet")
    prepared: bool = Field(False, description="it is held, and all is laid out of it that is laid out ahead")
    held_until: AwareDatetime | None = Field(None, description="one that is held expires then, unless it is started")
    succeeded_without: list[HostId] = Field(
        [], description="hosts whose jobs ended otherwise, where the tool's on_host_lost lets the others go on"
    )
    partly_released: list[HostId] = Field(
        [], description="hosts that succeeded, and of whose outputs their sites released a part and keep the rest"
    )
    jobs: list[JobView] = []


def whose_word(told_by: Mapping[str, str] | None, term: str) -> str:
    """Whose word an experiment's project, permit or purpose is, for people."""
    if told_by is None:
        return "it is not known whose word it is"
    return f"granted, by {told_by[term]}" if told_by.get(term) else "stated by the user"


class Page(View):
    """A page of experiments, newest first unless sorted, without their jobs.

    ``next`` is the value for ``cursor`` of the following page.
    """

    items: list[ExperimentView]
    next: str | None = None
    total: int | None = Field(None, description="how many there are in all, if that was asked for (count)")


class EventView(View):
    """One event of ``GET /experiments/{id}/events``; the SSE id is ``id``.

    Exactly one of ``state``, ``progress``, ``metrics``, ``log`` is there. ``job`` is None for an event of the
    experiment as a whole (its ``state``).
    """

    id: int
    experiment: ExperimentId
    job: JobId | None = None
    host: HostId | None = None
    task: str | None = None
    time: AwareDatetime
    state: str | None = None
    code: str | None = None
    reason: str | None = None
    progress: dict[str, Any] | None = None
    metrics: dict[str, Any] | None = None
    log: dict[str, Any] | None = Field(None, description="stream and lines")


class LogLines(View):
    """Lines that one job wrote, as far as its host's policy lets log lines out."""

    time: AwareDatetime
    job: JobId
    host: HostId
    task: str
    stream: str = Field(description="stdout or stderr")
    lines: list[str]


class Logs(View):
    """``GET /experiments/{id}/logs``, oldest first. ``next`` is the ``cursor`` of what follows."""

    items: list[LogLines]
    next: int | None = None


class ReportJob(View):
    job: JobId
    host: HostId
    task: str
    state: JobState
    executor: str | None = None
    runtime: str | None = None
    command: list[str] = []
    exit_code: int | None = None
    cpu_seconds: float | None = None
    memory_peak: int | None = None
    seconds: float | None = None
    times: dict[str, AwareDatetime] = {}
    datasets: list[dict[str, Any]] = []


class Report(View):
    """``GET /experiments/{id}/report``."""

    experiment: ExperimentId
    tool: ToolId
    version: str
    digest: str
    state: ExperimentState
    parameters: dict[str, Any]
    jobs: list[ReportJob]

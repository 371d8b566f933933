"""What the central API takes and gives over HTTP (D6.1 "Analysis Platform API definition"; docs/wire.md)."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from fedproc.contract.ids import DatasetRef, ExperimentId, FileId, HostId, JobId, Name, Sha256, ToolId
from fedproc.contract.messages import AdmittedTool, Capacity, OpenJob
from fedproc.contract.states import ExperimentState, JobState
from fedproc.contract.tool import Condition, Disclosure, Placement, Resources, TaskKind


class Request(BaseModel):
    """What comes in: unknown keys are refused, so that a misspelt one is not silently without effect."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class View(BaseModel):
    """What goes out. Clients ignore what they do not know."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Problem(View):
    """An error (RFC 9457, ``application/problem+json``). ``cure`` says what to do."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    instance: str | None = None
    code: str = Field(description="stable, for programs")
    errors: list[dict[str, Any]] = Field([], description="one entry per fault of the input: where, what")


class Token(View):
    """RFC 6749 section 5.1."""

    access_token: str
    token_type: str = "Bearer"  # noqa: S105
    expires_in: int
    refresh_token: str | None = None
    scope: str | None = None


class ExperimentRequest(Request):
    """``POST /experiments``. Hosts left out are those of the datasets."""

    tool: ToolId
    version: str | None = Field(None, description="the newest approved one unless given")
    hosts: list[HostId] = Field(default_factory=list, max_length=2000)
    datasets: list[DatasetRef] = Field(default_factory=list, max_length=5000)
    parameters: dict[str, Any] = {}
    host_parameters: dict[HostId, dict[str, Any]] = {}
    label: str | None = Field(None, max_length=200)
    project: str | None = Field(None, max_length=200)
    permit: str | None = Field(None, max_length=200)
    purpose: str | None = Field(None, max_length=500)
    start_within: int = Field(24 * 3600, ge=10, le=90 * 86400, description="seconds; else jobs expire")

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        for what, values in (("hosts", self.hosts), ("datasets", self.datasets)):
            if len(set(values)) != len(values):
                raise ValueError(f"{what}: each may be named once only")
        return self


class JobView(View):
    id: JobId
    experiment: ExperimentId
    host: HostId
    task: str
    state: JobState
    code: str | None = None
    reason: str | None = None
    waiting_for: str | None = None
    unreachable: bool = Field(False, description="its host has not been heard of for three heartbeats")
    times: dict[str, AwareDatetime] = {}
    exit_code: int | None = None


class ExperimentView(View):
    id: ExperimentId
    state: ExperimentState
    tool: ToolId
    version: str
    digest: str
    label: str | None = None
    owner: str
    created: AwareDatetime
    ended: AwareDatetime | None = None
    parameters: dict[str, Any] = {}
    host_parameters: dict[str, dict[str, Any]] = {}
    datasets: list[str] = []
    project: str | None = None
    permit: str | None = None
    purpose: str | None = None
    cancel_requested: bool = False
    jobs: list[JobView] = []


class Page(View):
    """A page of experiments, newest first. ``next`` is the value for ``cursor`` of the following page."""

    items: list[ExperimentView]
    next: str | None = None


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


class FileView(View):
    """A file entry. ``uri`` locates it in the API; the bytes are behind ``access`` or ``content``."""

    id: FileId
    uri: str
    path: str
    state: Literal["pending", "complete"]
    size: int | None = Field(None, description="bytes")
    received: int = Field(0, description="bytes that have arrived")
    sha256: Sha256 | None = None
    media_type: str
    owner: str
    experiment: ExperimentId | None = None
    job: JobId | None = None
    host: HostId | None = None
    task: str | None = None
    output: str | None = None
    disclosure: Disclosure | None = None
    created: AwareDatetime
    upload: str | None = Field(None, description="where the bytes go (tus 1.0.0), while pending")
    content: str | None = Field(None, description="where its owner gets the bytes, when complete")


class Access(View):
    """``GET /data/file/{file_id}/access/``: a URI that gives the bytes without a token until ``expires``."""

    uri: str
    expires: AwareDatetime
    sha256: Sha256
    size: int


class NewFile(Request):
    """Body of ``PUT /data/file/{file_path}``."""

    size: int = Field(ge=0, description="bytes that will be sent")
    sha256: Sha256
    media_type: str = Field("application/octet-stream", pattern=r"^[\w.+-]+/[\w.+-]+$")


class NewUpload(Request):
    """Body of ``POST /uploads``, by a host: one output of one of its jobs."""

    job: JobId
    output: Name
    path: str
    size: int = Field(ge=0)
    sha256: Sha256
    media_type: str = "application/octet-stream"
    recipient: HostId | None = None


class TaskView(View):
    """A task template: all that is needed to build the command at a site (D6.1 ``GET /tools/tasks``)."""

    tool: ToolId
    version: str
    name: str
    description: str = ""
    placement: Placement
    kind: TaskKind
    command: list[str]
    prepare: list[list[str]] = []
    environment: dict[str, str] = {}
    placeholders: dict[str, str] = Field({}, description="what the host fills in for each")
    parameters: dict[str, Any] = Field({}, description="JSON Schema")
    resources: Resources
    runtime: dict[str, Any]
    needs: list[dict[str, Condition | str]] = []
    inputs: list[dict[str, Any]] = []
    outputs: list[dict[str, Any]] = []
    ports: list[dict[str, Any]] = []
    connections: list[dict[str, Any]] = []


class ToolSummary(View):
    id: ToolId
    version: str
    digest: str
    name: str
    description: str
    mode: str
    href: str


class ToolView(ToolSummary):
    """``GET /tools/{tool_id}``: the whole entry, with links to its tasks."""

    versions: list[str]
    parameters: dict[str, Any]
    on_host_lost: dict[str, Any]
    biotools: dict[str, Any]
    survey: dict[str, Any]
    tasks: list[dict[str, str]] = Field(description="name and href of each task template")


class DatasetView(View):
    id: DatasetRef
    host: HostId
    version: str
    description: str = ""
    files: int | None = None
    size: int | None = None
    available: bool = True


class HostView(View):
    id: HostId
    site: str = ""
    roles: list[Literal["data", "compute", "aggregator"]]
    location: str = ""
    active: bool
    alive: bool = Field(description="heard of within three heartbeats")
    reached_by: str = Field("", description="how it is reached: always by its own outgoing connection")
    condition: str = "unknown"
    condition_text: str = ""
    last_heartbeat: AwareDatetime | None = None
    software: str | None = None
    capacity: Capacity | None = None
    executors: list[str] = []
    tools: list[AdmittedTool] = []
    datasets: list[str] = []
    open_jobs: int = 0
    check: dict[str, Any] | None = None


class HostEnrolment(Request):
    """``PUT /hosts/{host_id}`` by an operator or admin: who the host is, and the key that it made itself."""

    site: str = ""
    roles: list[Literal["data", "compute", "aggregator"]] = Field(min_length=1)
    location: str = ""
    public_key: dict[str, Any] = Field(description="public JWK, P-256")
    address: str | None = Field(
        None, description="host:port at which an aggregator's server tasks are dialled (the gateway, in production)"
    )
    domain: str = "fedproc.internal"
    active: bool = True


class Health(View):
    """``GET /hosts/health/``: 200 if all of the centre works, else 503; hosts are listed, not counted in."""

    status: Literal["ok", "degraded"]
    database: str
    broker: str
    issuer: str
    relay: str
    hosts: dict[str, str]


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


class AuditEntry(View):
    """One act through the API (``GET /audit``, operators)."""

    id: int
    time: AwareDatetime
    actor: str
    method: str
    path: str
    action: str
    target: str | None = None
    outcome: int = Field(description="HTTP status")
    detail: str | None = None


class Inventory(Request):
    """``POST /hosts/{host_id}/inventory``: all open jobs of a host, when its digest differs from the centre's."""

    epoch: str
    jobs: list[OpenJob]


class InventoryAnswer(View):
    """What the host does with each: go on, cancel it, or expect it again."""

    keep: list[JobId] = []
    cancel: list[JobId] = []
    resend: list[JobId] = []

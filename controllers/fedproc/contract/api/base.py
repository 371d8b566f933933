"""What the central API takes and gives over HTTP (D6.1 "Analysis Platform API definition"; docs/wire.md)."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from fedproc.contract.ids import DatasetRef, ExperimentId, FileId, HostId, JobId, Name, Sha256, ToolId, is_safe_path
from fedproc.contract.plain import PlainJson
from fedproc.contract.states import ExperimentState, JobState
from fedproc.contract.tool.tool import Condition, Disclosure, Placement, Resources, TaskKind
from fedproc.contract.wire.messages import AdmittedTool, Capacity, OpenJob, ReadyTool

Line = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]*$")]
"""Text of a person, without control characters."""

MediaType = Annotated[str, StringConstraints(pattern=r"^[\w.+-]+/[\w.+-]+$", max_length=127)]


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


class RunRequest(Request):
    """``POST /tools/job/{tool_name}``: what ``POST /experiments`` takes; the path names the tool."""

    version: str | None = Field(None, max_length=64, description="the newest approved one unless given")
    hosts: list[HostId] = Field(default_factory=list, max_length=2000)
    datasets: list[DatasetRef] = Field(default_factory=list, max_length=5000)
    parameters: PlainJson = {}
    host_parameters: dict[HostId, PlainJson] = {}
    label: Line | None = Field(None, max_length=200)
    project: Line | None = Field(None, max_length=200)
    permit: Line | None = Field(None, max_length=200)
    purpose: Line | None = Field(None, max_length=500)
    start_within: int = Field(24 * 3600, ge=10, le=90 * 86400, description="seconds; else jobs expire")

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        for what, values in (("hosts", self.hosts), ("datasets", self.datasets)):
            if len(set(values)) != len(values):
                raise ValueError(f"{what}: each may be named once only")
        return self


class ExperimentRequest(RunRequest):
    """``POST /experiments``. Hosts left out are those of the datasets."""

    tool: ToolId


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
    """A page of experiments, newest first, without their jobs.

    ``next`` is the value for ``cursor`` of the following page.
    """

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


def _safe(path: str) -> str:
    if not is_safe_path(path):
        raise ValueError("must be a relative path without . or .. segments, control characters or backslashes")
    return path


class NewFile(Request):
    """Body of ``PUT /data/file/{file_path}``."""

    size: int = Field(ge=0, le=2**53, description="bytes that will be sent")
    sha256: Sha256
    media_type: MediaType = "application/octet-stream"


class NewUpload(Request):
    """Body of ``POST /uploads``, by a host: one output of one of its jobs."""

    job: JobId
    output: Name
    path: Annotated[str, AfterValidator(_safe)]
    size: int = Field(ge=0, le=2**53, description="bytes")
    sha256: Sha256
    media_type: MediaType = "application/octet-stream"
    recipient: HostId | None = Field(None, description="for an artefact: the host to whose key it is encrypted")


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
    accepted: bool = Field(True, description="its acceptance has succeeded, or the operator vouches for it")
    alive: bool = Field(description="heard of within three heartbeats")
    reached_by: str = Field("", description="how it is reached: always by its own outgoing connection")
    condition: str = "unknown"
    condition_text: str = ""
    last_heartbeat: AwareDatetime | None = None
    software: str | None = None
    capacity: Capacity | None = None
    executors: list[str] = []
    tools: list[AdmittedTool] = []
    tools_ready: list[ReadyTool] = Field([], description="what the host need not fetch first, by task")
    datasets: list[str] = []
    open_jobs: int = 0
    check: dict[str, Any] | None = None


class HostReportView(View):
    """``GET /hosts/reports``, for operators: the last whole check of one host, as its program wrote it."""

    host: HostId
    site: str = ""
    time: AwareDatetime | None = Field(None, description="when the host sent it")
    report: dict[str, Any] | None = Field(None, description="None before the first one has come")


class HostEnrolment(Request):
    """``PUT /hosts/{host_id}`` by an operator or admin: who the host is, and the key that it made itself."""

    site: Line = Field("", max_length=200)
    roles: list[Literal["data", "compute", "aggregator"]] = Field(min_length=1, max_length=3)
    location: Line = Field("", max_length=200)
    public_key: PlainJson | None = Field(
        None, description="public JWK, P-256; unless given, that of the host's confirmed enrolment"
    )
    address: str | None = Field(
        None,
        pattern=r"^([A-Za-z0-9][A-Za-z0-9.-]{0,252}|\[[0-9A-Fa-f:.]{2,45}\]):[1-9][0-9]{0,4}$",
        description="host:port at which an aggregator's server tasks are dialled (the gateway, in production)",
    )
    domain: str = Field("fedproc.internal", pattern=r"^[a-z0-9]([a-z0-9.-]{0,200}[a-z0-9])?$")
    active: bool = True
    accepted: bool | None = Field(
        None,
        description="false: researchers' jobs are not placed there before its acceptance has succeeded; true: the "
        "operator vouches for it; unless given, as it was, and true for a new host",
    )


class AcceptanceView(View):
    """``/hosts/{host_id}/acceptance``: a host's newest acceptance experiment, and what its job found."""

    host: HostId
    accepted: bool
    experiment: ExperimentView | None = None
    report: dict[str, Any] | None = Field(None, description="report.json of the acceptance tool, once it is there")


class HostRevocation(Request):
    """``POST /hosts/{host_id}/revocation`` by an operator; the reason is kept in the audit."""

    reason: Line = Field(min_length=1, max_length=500)


EnrolmentState = Literal["offered", "requested", "confirmed", "refused"]


class NewEnrolment(Request):
    """``POST /enrolments`` by an operator: give out a code for a host. It makes an earlier code of that host void."""

    host: HostId
    hours: float = Field(48, gt=0, le=24 * 30, description="how long the code is good")


class EnrolmentCode(View):
    """The one time that a code is shown: the centre keeps its sha256 only."""

    host: HostId
    code: str
    expires: AwareDatetime


class EnrolmentRequest(Request):
    """``PUT /enrolments/{host}`` by the host: its certificate request, which the code lets in."""

    code: str = Field(min_length=1, max_length=64)
    request: str = Field(min_length=1, max_length=16_384, description="PKCS #10, PEM, P-256, subject CN=HOST alone")


class EnrolmentCertificate(Request):
    """``POST /enrolments/{host}/certificate`` by an operator, who has compared the fingerprint."""

    certificate: str = Field(min_length=1, max_length=16_384, description="PEM, of the request's key and host")


class EnrolmentRefusal(Request):
    """``POST /enrolments/{host}/refusal`` by an operator."""

    reason: Line = Field(min_length=1, max_length=500)


class EnrolmentView(View):
    """``GET /enrolments/{host}`` for an operator: how far one enrolment is."""

    host: HostId
    state: EnrolmentState
    created: AwareDatetime
    expires: AwareDatetime = Field(description="of the code, as long as no request has come")
    void: bool = Field(False, description="the code was tried wrongly too often, or is too old: give out a new one")
    requested: AwareDatetime | None = None
    request: str | None = Field(None, description="PEM")
    public_key: str | None = Field(None, description="PEM")
    fingerprint: str | None = Field(None, description="sha256 of the key's SubjectPublicKeyInfo, in groups of four")
    decided: AwareDatetime | None = None
    certificate: str | None = Field(None, description="PEM")
    reason: str | None = Field(None, description="of a refusal")


class Enrolled(View):
    """``GET /enrolments/{host}`` for the host, with its code: how far it is, and what it must know of the centre."""

    host: HostId
    state: EnrolmentState
    fingerprint: str | None = None
    certificate: str | None = Field(None, description="PEM, once it is confirmed")
    reason: str | None = Field(None, description="of a refusal")
    authority: str | None = Field(None, description="PEM: who certifies hosts and servers")
    dispatch_keys: list[str] = Field([], description="PEM, public: sign messages to hosts")
    catalogue_keys: list[str] = Field([], description="PEM, public: sign tools")
    api_url: str
    issuer_url: str
    broker_host: str
    broker_port: int


class Authority(View):
    """``GET /authority``: trust it only if ``sha256`` (of its DER form) is what the operator told."""

    certificate: str
    sha256: Sha256


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


class AuditPage(View):
    """``GET /audit``, newest first. ``next`` is the ``cursor`` of what follows."""

    items: list[AuditEntry]
    next: int | None = None


class DeadLetter(View):
    """A message that could not be read (``GET /dead-letters``, operators)."""

    id: int
    time: AwareDatetime
    host: HostId | None = Field(None, description="who could not read it, or who sent it")
    queue: str
    job: JobId | None = None
    code: str
    reason: str
    sha256: Sha256
    size: int = Field(description="bytes that are kept; 0 until the letter itself has come")


class DeadLetterPage(View):
    """``GET /dead-letters``, newest first. ``next`` is the ``cursor`` of what follows."""

    items: list[DeadLetter]
    next: int | None = None


class Inventory(Request):
    """``POST /hosts/{host_id}/inventory``: all open jobs of a host, when its digest differs from the centre's."""

    epoch: str
    jobs: list[OpenJob]


class InventoryAnswer(View):
    """What the host does with each: go on, cancel it, or expect it again."""

    keep: list[JobId] = []
    cancel: list[JobId] = []
    resend: list[JobId] = []

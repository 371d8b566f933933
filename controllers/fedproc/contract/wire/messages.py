"""What crosses the broker. Every message is a JWS (:mod:`fedproc.contract.wire.jws`) whose payload is an Envelope.

Readers ignore unknown fields, so that a newer centre can talk to an older host, unless the envelope names the
field in ``crit``: then a reader that does not know it must refuse the message. Times are UTC, ISO 8601.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from fedproc.contract.ids import DatasetId, Digest, ExperimentId, FileId, HostId, JobId, Name, Sha256
from fedproc.contract.plain import PlainJson
from fedproc.contract.states import JobState
from fedproc.contract.tool.tool import ToolRef
from fedproc.contract.wire.crypt4gh import PublicKey
from fedproc.contract.wire.datasets import DatasetColumns, DatasetGrant, OfferedDataset
from fedproc.contract.wire.logs import ShownLog
from fedproc.contract.wire.masks import Masked
from fedproc.contract.wire.release import ReleaseStage
from fedproc.contract.wire.releasing import MOST_BUDGETS, AdmittedTool, BudgetLeft, ReleasePolicy
from fedproc.contract.wire.selection import Selection

VERSION = 1
VERSIONS_READ = (1,)


class Wire(BaseModel):
    """Frozen; unknown fields are ignored (``crit`` in the envelope says which may not be)."""

    model_config = ConfigDict(extra="ignore", frozen=True, defer_build=True)


class Envelope(Wire):
    """The signed payload around every message (claim names of RFC 7519 where it has one).

    ``aud`` is the host id, or ``central``; ``exp`` (seconds since 1970) of a job message is its last deadline.
    """

    v: int = VERSION
    type: str
    iss: str
    aud: str
    iat: float = Field(allow_inf_nan=False)
    exp: float | None = None
    jti: str
    crit: tuple[str, ...] = ()
    body: dict[str, Any]


class FileRef(Wire):
    """A file behind the API; its bytes are fetched through ``/data/file/{id}/access/``."""

    file: FileId
    sha256: Sha256
    size: int = Field(ge=0, description="bytes")
    media_type: str = "application/octet-stream"
    input: Name | None = Field(None, description="name of the declared input that it belongs to")
    host: HostId | None = Field(None, description="host whose job made it")
    task: Name | None = None
    output: Name | None = None
    path: str = Field(description="relative path under which the reader lays it out")
    encrypted_for: HostId | None = Field(None, description="the bytes are encrypted to this host's key: see wire.md")


class User(Wire):
    sub: str
    name: str = ""


class Deadlines(Wire):
    """Absolute times that the host enforces; a job that misses one ends as ``expired``."""

    start_by: AwareDatetime
    end_by: AwareDatetime
    release_by: AwareDatetime
    hold_until: AwareDatetime | None = Field(None, description="for hosts that do not know hold_seconds")
    hold_seconds: float | None = Field(
        None, gt=0, description="a gang's job waits no longer than this for the others, from when it is prepared"
    )


class DatasetUse(Wire):
    id: DatasetId
    version: str | None = Field(None, description="the version that was chosen; another one ends the job")


class JobOrder(Wire):
    """``type: job``. All that a host needs to decide on and run one job."""

    job: JobId
    experiment: ExperimentId
    task: Name
    tool: ToolRef
    user: User
    project: str | None = None
    permit: str | None = None
    purpose: str | None = None
    told_by: dict[str, str] = Field({}, description="project, permit, purpose: whose word it is, if a provider's")
    encrypt_to: PublicKey | None = Field(None, description="Crypt4GH: to whom released outputs are encrypted; critical")
    datasets: tuple[DatasetUse, ...] = ()
    selections: dict[DatasetId, Selection] = Field({}, description="what is selected of a dataset; critical if given")
    grants: tuple[DatasetGrant, ...] = Field((), description="of those datasets whose use a provider is asked about")
    parameters: dict[str, Any] = {}
    inputs: tuple[FileRef, ...] = ()
    deadlines: Deadlines
    gang: bool = Field(False, description="wait in prepared for the start message")
    ahead: bool = Field(False, description="lay out what it needs, and take its share at proceed only; then critical")
    hosts: dict[Name, tuple[HostId, ...]] = Field({}, description="the experiment's hosts by task")
    recipients: dict[HostId, dict[str, Any]] = Field({}, description="keys (JWK) of hosts that get its artefacts")
    masks: dict[HostId, Masked] = Field({}, description="who masks with whom, if outputs leave masked; then critical")
    shown: tuple[str, ...] = Field((), description="of a task without datasets: names that datasets elsewhere show")


class Peer(Wire):
    """The other end of a declared connection.

    To the connecting side: ``address`` (host:port) is what is dialled, ``server_name`` is what TLS asks for, per
    port name. To the accepting side: only ``host`` and ``job``, which may come in.
    """

    task: Name
    job: JobId
    host: HostId
    address: str | None = None
    server_names: dict[Name, str] = {}
    key: str | None = Field(None, description="thumbprint (RFC 7638) of the key that its certificate must show")


class Start(Wire):
    """``type: start``. All of the gang are prepared; go."""

    job: JobId
    peers: tuple[Peer, ...] = ()
    artefacts: tuple[FileRef, ...] = ()


class Proceed(Wire):
    """``type: proceed``. Its researcher starts what was laid out ``ahead``: ask for its share, and go on as usual."""

    job: JobId


class Finish(Wire):
    """``type: finish``. The experiment's batch tasks are over: end this service, which so succeeds."""

    job: JobId


class Cancel(Wire):
    """``type: cancel``. May come before its job; then it leaves a tombstone."""

    job: JobId
    code: str = "cancelled"
    reason: str = "cancelled by its user"


class Output(Wire):
    """One released and uploaded output file."""

    output: Name
    path: str
    file: FileId
    sha256: Sha256
    size: int
    media_type: str = "application/octet-stream"
    recipient: HostId | None = Field(None, description="for an artefact: the host that it is encrypted to")
    plain_sha256: Sha256 | None = Field(None, description="of one that is encrypted to its user: before that")


class Used(Wire):
    """What the job used; None is "not counted"."""

    cpu_seconds: float | None = None
    memory_peak: int | None = Field(None, description="bytes")
    seconds: float | None = Field(None, description="of running, monotonic")


class OpenJobsRequest(Wire):
    """``type: inventory``. The centre's books differ from the host's digest: send the list of open jobs."""

    host: HostId


class Revocation(Wire):
    """``type: revocation``. A host's key counts no more (or, lifted, counts again): cut its connections, let none in.

    Of several about one key the latest by ``at`` counts, in whatever order they come.
    """

    host: HostId
    key: str = Field(max_length=64, description="thumbprint (RFC 7638) of the key that it was enrolled with")
    revoked: bool = True
    at: AwareDatetime


class ConnectionUse(Wire):
    """What went over one declared connection of a job, for the record."""

    task: Name
    host: HostId
    sent: int = Field(0, description="bytes that left this host")
    received: int = Field(0, description="bytes that came in")
    rounds: int | None = Field(None, description="how often the task that dialled sent anew, after it had received")
    cut: str | None = Field(None, description="why this host cut it, if it did")


class Snapshot(Wire):
    """``type: snapshot``. A job's whole state as its host knows it; the highest ``sequence`` of an epoch wins."""

    host: HostId
    epoch: str
    job: JobId
    experiment: ExperimentId
    sequence: int = Field(ge=1)
    state: JobState
    code: str | None = Field(None, description="open reason code, e.g. policy.tool_unknown")
    reason: str | None = None
    ready: bool = Field(
        False, description="a service: it serves; of an order ``ahead``, until proceed: all is laid out"
    )
    waiting_for: str | None = Field(None, description="what it waits for just now, in words")
    times: dict[str, AwareDatetime] = Field({}, description="when each state was entered")
    executor: str | None = None
    runtime: str | None = Field(None, description="image or environment with its digest")
    command: tuple[str, ...] = ()
    exit_code: int | None = None
    used: Used = Used()
    outputs: tuple[Output, ...] = ()
    artefacts: tuple[Output, ...] = ()
    connections: tuple[ConnectionUse, ...] = ()
    release: ReleaseStage | None = Field(None, description="how far the site's release of the outputs is")


class Record(Wire):
    """``type: record``. Metrics or log lines of one job; append-only, ``sequence`` counts per job and stream."""

    host: HostId
    epoch: str
    job: JobId
    experiment: ExperimentId
    stream: Literal["metrics", "stdout", "stderr"]
    sequence: int = Field(ge=1)
    time: AwareDatetime
    metrics: dict[str, Any] | None = None
    lines: tuple[str, ...] = ()


class GpuInfo(Wire):
    uuid: str
    name: str
    vram: int = Field(description="bytes")
    compute_capability: float | None = None
    free: bool = True


class Capacity(Wire):
    """What a host has for jobs, and how much of it is free."""

    cpus: float
    cpus_free: float
    memory: int = Field(description="bytes")
    memory_free: int
    disk: int
    disk_free: int
    gpus: tuple[GpuInfo, ...] = ()


class ReadyTool(Wire):
    """A tool version whose tasks have what they run in on the host: image or environment."""

    id: str
    version: str
    digest: Digest
    tasks: tuple[str, ...]


class Heartbeat(Wire):
    """``type: heartbeat``. That the host is alive, what it has, and a digest of its open jobs."""

    host: HostId
    epoch: str
    time: AwareDatetime
    interval: float = Field(description="seconds until the next")
    software: str
    versions: tuple[int, ...] = VERSIONS_READ
    condition: Literal["accepting", "holding", "stopped"] = "accepting"
    condition_text: str = ""
    capacity: Capacity
    executors: tuple[str, ...] = ()
    ahead: bool = Field(False, description="it lays out ahead what an order needs, where that asks for it")
    tools: tuple[AdmittedTool, ...] = ()
    tools_ready: tuple[ReadyTool, ...] = ()
    policy: ReleasePolicy | None = Field(None, description="how it releases outputs, unless the site keeps that")
    budgets: tuple[BudgetLeft, ...] | None = Field(
        None, max_length=MOST_BUDGETS, description="None: the host counts no releases, or does not tell"
    )
    datasets: tuple[OfferedDataset, ...] = ()
    columns: DatasetColumns | None = Field(None, description="one page of one dataset's columns; the others follow")
    log: ShownLog | None = Field(None, description="its transparency log, for the centre to witness")
    open_jobs: int = 0
    open_jobs_digest: str = Field("", description=":func:`open_jobs_digest` of the host's open jobs")
    check: PlainJson | None = Field(None, description="GPUs, disks, and the last whole check (docs/host-check.md)")


class HostReport(Wire):
    """``type: report``. The host's last whole check, as its program wrote it (docs/host-check.md)."""

    host: HostId
    epoch: str
    time: AwareDatetime
    report: PlainJson


class DeadLetterReason(Wire):
    """``type: unread``. A host could not read a message from its queue and dead-letters it with this reason."""

    host: HostId
    epoch: str
    code: str
    reason: str
    sha256: Sha256
    queue: str


ToHost = JobOrder | Start | Proceed | Finish | Cancel | OpenJobsRequest | Revocation
FromHost = Snapshot | Record | Heartbeat | HostReport | DeadLetterReason

TYPES: dict[str, type[Wire]] = {
    "job": JobOrder,
    "start": Start,
    "proceed": Proceed,
    "finish": Finish,
    "cancel": Cancel,
    "inventory": OpenJobsRequest,
    "revocation": Revocation,
    "snapshot": Snapshot,
    "record": Record,
    "heartbeat": Heartbeat,
    "report": HostReport,
    "unread": DeadLetterReason,
}

CRITICAL: dict[str, tuple[str, ...]] = {"job": ("selections", "grants", "ahead", "masks", "encrypt_to")}
"""fields of a kind that its reader must know if they are there (``crit``): without them it would do something else"""

TYPE_OF = {model: name for name, model in TYPES.items()}

Message = Annotated[ToHost | FromHost, Field(union_mode="left_to_right")]

"""What the probes measured: frozen records, the same in memory, between processes and in the report's JSON.

Sizes are bytes unless a name says otherwise, times are UTC in ISO 8601. ``None`` stands for "does not apply" or "not
asked for"; what was asked for and could not be measured is an :class:`Unknown` or carries a reason beside it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Unknown:
    """Nothing could be measured; ``unknown`` is the reason, for a person."""

    unknown: str


@dataclass(frozen=True)
class MigInstance:
    """One slice of a GPU in MIG mode: all that one program can use of it."""

    name: str
    uuid: str
    memory_bytes: int


@dataclass(frozen=True)
class Gpu:
    """One device that NVML lists. ``fault`` says why it cannot be used; then most other fields are ``None``."""

    index: int
    name: str
    uuid: str
    memory_bytes: int | None = None
    compute_capability: str | None = None
    cuda_cores: int | None = None
    tensor_cores: int | None = None
    mig: tuple[MigInstance, ...] | None = None
    fault: str | None = None


@dataclass(frozen=True)
class GpuFacts:
    """``state``: ``ready`` (NVML answers), ``none`` (no NVML), ``broken`` (the driver does not work), ``unknown``."""

    state: str
    reason: str = ""
    driver: str | None = None
    cuda: str | None = None
    gpus: tuple[Gpu, ...] = ()
    cards: tuple[str, ...] = ()


@dataclass(frozen=True)
class CpuFacts:
    """``usable_threads`` is what this program may use of ``threads`` (affinity, cgroup quota)."""

    model: str
    architecture: str
    sockets: int | None
    cores: int | None
    threads: int
    usable_threads: int
    clock_ghz: float | None
    clock_source: str


@dataclass(frozen=True)
class MemoryFacts:
    """``total_bytes`` is what the kernel manages (MemTotal); ``limit_bytes`` a cgroup's limit, if it is lower."""

    total_bytes: int
    available_bytes: int
    limit_bytes: int | None
    slots: int | None
    ecc: bool | None
    board_reason: str


@dataclass(frozen=True)
class Disk:
    """The filesystem that holds ``path`` (or its nearest existing parent) and the drive below it."""

    path: str
    mount: str
    device: str
    total_bytes: int
    free_bytes: int
    total_inodes: int
    free_inodes: int
    read_only: bool
    drive_bytes: int | None = None
    ssd: bool | None = None
    drive_reason: str = ""


@dataclass(frozen=True)
class DataFacts:
    """The folder of the datasets. ``used_bytes`` counts what lies in it; ``counted_all`` is false for a lower bound."""

    disk: Disk
    used_bytes: int
    counted_all: bool


@dataclass(frozen=True)
class DiskFacts:
    """``dataset_bytes``: how much data the host is said to hold in all, ``None`` if nobody said."""

    system: Disk
    work: Disk
    data: DataFacts | None = None
    data_reason: str = ""
    dataset_bytes: int | None = None


@dataclass(frozen=True)
class SystemFacts:
    """The operating system. ``cgroup_controllers`` are those that limits of jobs need and that are there."""

    hostname: str
    id: str
    version: str
    name: str
    kernel: str
    machine: str
    python: str
    virtual: bool
    cgroup_version: str
    cgroup_controllers: tuple[str, ...]


@dataclass(frozen=True)
class Engine:
    """``state``: ``usable``, ``broken`` (installed, does not work) or ``denied`` (this user may not ask it)."""

    name: str
    version: str
    state: str
    detail: str
    rootless: bool | None = None


@dataclass(frozen=True)
class EngineFacts:
    engines: tuple[Engine, ...]


@dataclass(frozen=True)
class ExecutorNeeds:
    """What an executor needs here. ``missing``: each with its cure; ``note``: what it does without, less well."""

    name: str
    needs: str
    missing: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class ExecutorFacts:
    executors: tuple[ExecutorNeeds, ...]


@dataclass(frozen=True)
class ServiceFacts:
    """How far one service was reached. ``fault`` is ``None`` if it answered, else a code.

    Each code has its cure, in ``net/errors.py`` or in ``rules/network.py``.

    ``skew_seconds`` is the server's clock less this machine's, good to ``skew_error`` seconds.
    """

    name: str
    url: str
    fault: str | None = None
    detail: str = ""
    via: str | None = None
    address: str | None = None
    tls: str | None = None
    issuer: str | None = None
    expires: str | None = None
    status: int | None = None
    skew_seconds: float | None = None
    skew_error: float | None = None


@dataclass(frozen=True)
class DataApiFacts:
    """A site's Data API at ``place``: a service, or a folder of datasets. ``fault``: ``None`` if it can be used."""

    place: str
    service: ServiceFacts | None = None
    fault: str | None = None
    detail: str = ""


@dataclass(frozen=True)
class CertificateFacts:
    """``begun``: the time of validity has begun by this machine's clock; ``days_left`` is negative once it is over."""

    subject: str
    issuer: str
    not_before: str
    not_after: str
    begun: bool
    days_left: float


@dataclass(frozen=True)
class CredentialFacts:
    """The host's key and certificate. ``problems`` are faults of file modes and owners, one sentence each."""

    certificate: CertificateFacts | None
    certificate_reason: str
    match: bool | None
    match_reason: str
    problems: tuple[str, ...]
    files: tuple[str, ...]


@dataclass(frozen=True)
class Facts:
    """All of one check; ``None`` for what was not asked."""

    gpu: GpuFacts | Unknown | None = None
    cpu: CpuFacts | Unknown | None = None
    memory: MemoryFacts | Unknown | None = None
    disk: DiskFacts | Unknown | None = None
    os: SystemFacts | Unknown | None = None
    container: EngineFacts | Unknown | None = None
    credentials: CredentialFacts | Unknown | None = None
    data_apis: tuple[DataApiFacts, ...] = ()
    services: tuple[ServiceFacts, ...] = ()
    executor: ExecutorFacts | Unknown | None = None

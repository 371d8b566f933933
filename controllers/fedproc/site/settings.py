"""Settings of a host's programs: one TOML file, read once, frozen, unknown keys refused (docs/operations/site.md)."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, field_validator, model_validator

from fedproc.common.toml_settings import Section, load_toml
from fedproc.contract.ids import DatasetId, HostId
from fedproc.site.dataset_settings import DatasetSettings

ExecutorName = Literal["sandbox", "docker", "podman", "apptainer", "slurm", "kubernetes"]


def as_tuple(value: Any) -> Any:
    """One name stands for a list of one."""
    return (value,) if isinstance(value, str) else value


class CentreSettings(Section):
    """Where the centre is and which of its keys this host trusts (pinned at onboarding)."""

    api_url: str = Field(pattern=r"^https?://")
    issuer_url: str = Field(pattern=r"^https?://")
    broker_host: str
    broker_port: int = 443
    broker_tls: bool = True
    vhost: str = "/"
    ca_file: Path | None = Field(None, description="whose certificates the API, issuer and broker show")
    proxy: str | None = Field(None, description="http://host:port of the site's proxy, instead of HTTPS_PROXY")
    proxy_file: Path | None = Field(None, description="instead: a file (0600) with http://user:password@host:port")
    dispatch_keys: tuple[Path, ...] = Field(min_length=1, description="PEM, public: sign messages to this host")
    catalogue_keys: tuple[Path, ...] = Field(min_length=1, description="PEM, public: sign tools")


class ConnectionSettings(Section):
    """The ends of connections between tasks: this host's enrolment certificate, and where it listens."""

    certificate: Path
    ca_file: Path = Field(description="who issued the enrolment certificates of the other hosts")
    listen_host: str = "127.0.0.1"
    listen_port: int | None = Field(None, description="aggregators only: where server tasks are reached")
    streams: int = Field(4000, ge=1, description="open at a time, in all; fewer where descriptors are few")
    streams_per_job: int = Field(500, ge=1, description="open at a time, of one job with one other host")


class CapacitySettings(Section):
    """What of the machine jobs may use in all; what is left out is measured at start."""

    cpus: float | None = Field(None, gt=0)
    memory_mb: int | None = Field(None, gt=0)
    disk_mb: int | None = Field(None, gt=0)
    gpus: tuple[str, ...] | None = Field(None, description="UUIDs; all that NVML shows unless given")


class CheckSettings(Section):
    """The host check of a running orchestrator (docs/host-check.md)."""

    profile: str = Field("d6.1", description="a built-in profile, for the daily check")
    profile_file: Path | None = Field(None, description="the site's own profile instead")
    seconds: float = Field(60, ge=1, description="between two samples of GPUs and disks")
    disk_reserve_mb: int = Field(5000, ge=0, description="with less than this free, no job starts")


class RetentionSettings(Section):
    """For how many days what is over is kept, since its end or its last use; 0 keeps it for good."""

    jobs_days: float = Field(30, ge=0, description="the journal's records of ended jobs, and those that cannot be read")
    tombstones_days: float = Field(400, ge=0, description="cancels that came before their jobs")
    outbox_days: float = Field(30, ge=0, description="messages to the centre, but for the last state of each job")
    job_folders_days: float = Field(7, ge=0, description="folders of ended jobs that keep_job_folders left")
    executor_records_days: float = Field(7, ge=0, description="what an executor kept of jobs that nobody knows")
    tools_days: float = Field(90, ge=0, description="versions of tools that no open job and no line of the policy need")
    runtimes_days: float = Field(90, ge=0, description="environments, or images, that none of the needed tools runs in")
    packages_days: float = Field(30, ge=0, description="pip's cache below the folder state")
    results_days: float = Field(400, ge=0, description="what the host's own Data API lists of released results")
    ledger_days: float = Field(
        1825, ge=0, description="whose results were released, as keyed hashes: what is forgotten is compared no more"
    )
    pass_seconds: float = Field(3600, ge=1, description="between two passes that remove what is due")


class SandboxSettings(Section):
    python: Path = Field(Path("/usr/bin/python3"), description="interpreter of tool environments")
    environments: Path | None = Field(None, description="folder of built environments, if shared by several hosts")
    pip_arguments: tuple[str, ...] = Field((), description="e.g. --index-url of the centre's registry")
    image_mb: int = Field(30_000, ge=1, description="what a tool's image may unpack to, at most")
    prefer_images: bool = Field(False, description="a task that has both runs in its image, not in an environment")


class DockerSettings(Section):
    socket: str = Field("unix:///var/run/docker.sock", pattern="^unix://")
    base_image: str | None = Field(None, description="base image given to tools' Dockerfiles as BASE_IMAGE")
    registries: dict[str, str] = Field(
        {},
        description="where the engine pulls images of other registries from: its own mirror, or itself",
    )


class PodmanSettings(DockerSettings):
    """Podman by its socket for Docker's API: that of the orchestrator's own user unless given."""

    socket: str = Field(
        default_factory=lambda: (
            f"unix://{os.environ.get('XDG_RUNTIME_DIR', f'/run/user/{os.getuid()}')}/podman/podman.sock"
        ),
        pattern="^unix://",
    )


class SlurmSettings(Section):
    """How jobs are handed to a Slurm cluster, of which this host is a login node."""

    folder: Path | None = Field(None, description="of orders, output and records, which the nodes share; else in state")
    python: Path = Field(Path(sys.executable), description="on the nodes, with fedproc in it")
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    minutes: int | None = Field(None, ge=1, description="time limit of an allocation; the partition's unless given")
    user: int | None = Field(None, ge=1, description="whose jobs they are, where the orchestrator is root")


class KubernetesFolder(Section):
    """A folder that this host and the nodes share, and how pods get at it: one of ``claim``, ``host_path``."""

    path: Path = Field(description="as this host sees it")
    claim: str | None = Field(None, description="a PersistentVolumeClaim of the namespace")
    sub_path: str = Field(
        "", pattern=r"^([^/.][^/]*(/[^/.][^/]*)*)?$", description="where in the claim's volume it lies"
    )
    host_path: Path | None = Field(None, description="instead: as each node sees it; refused by restricted namespaces")

    @model_validator(mode="after")
    def _one_way(self) -> KubernetesFolder:
        if (self.claim is None) == (self.host_path is None):
            raise ValueError(f"{self.path}: give either claim or host_path")
        return self


class KubernetesSettings(Section):
    """How jobs are handed to a Kubernetes cluster, as pods of one namespace."""

    kubeconfig: Path | None = Field(None, description="0600; unless given, the service account of the pod it runs in")
    context: str | None = None
    namespace: str = Field("fedproc", pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")
    folder: Path | None = Field(None, description="of orders, output and records, which the nodes share; else in state")
    folders: tuple[KubernetesFolder, ...] = Field((), description="the folders that pods are given parts of")
    registries: dict[str, str] = Field(
        {}, description="where nodes pull images of a registry from: a mirror, or itself"
    )
    pull_secret: str | None = Field(None, description="of the namespace, for that registry")
    node: str | None = Field(None, description="the node that this host is, for jobs with ports or connections")
    user: int = Field(10001, ge=1, description="whose jobs are outside: the orchestrator's own, where it may not chown")
    node_selector: dict[str, str] = Field({}, description="labels of the nodes that may run jobs")
    priority_class: str | None = None
    runtime_class: str | None = None
    gpu_resource: str | None = Field(None, description="such as nvidia.com/gpu; without one, jobs get no GPU")
    pids: int | None = Field(None, ge=1, description="podPidsLimit of the nodes' kubelets; unless given, not enforced")
    seccomp_profile: str | None = Field(
        None, description="on each node, from fedproc site seccomp-profile: jobs get an empty network of their own"
    )
    minutes: int | None = Field(None, ge=1, description="that a pod may take in all, its wait for an image included")


class RegistrySettings(Section):
    """The federation's registry of images and packages, which this host reads with its own token."""

    name: str = Field(pattern=r"^[a-z0-9.-]+(:\d+)?$", description="as tools' manifests name it: store.DOMAIN")
    url: str | None = Field(None, pattern=r"^https?://", description="where it is reached; https://NAME unless given")
    keep_mb: int = Field(4000, ge=0, description="how much of fetched images is kept, for images that share layers")

    @property
    def address(self) -> str:
        return (self.url or f"https://{self.name}").rstrip("/")


class MailSettings(Section):
    """The site's own mail server, by which it is told that something waits for a person."""

    server: str = Field(min_length=1, description="its name")
    port: int = Field(587, ge=1, le=65535)
    tls: Literal["starttls", "tls", "none"] = "starttls"
    user: str | None = None
    password_file: Path | None = Field(None, description="0600")
    ca_file: Path | None = Field(None, description="whose certificate it shows; the system's authorities unless given")
    sender: str = Field(min_length=3, pattern=r"^[^\s@]+@[^\s@]+$")
    to: tuple[str, ...] = Field(min_length=1, max_length=50)
    through_proxy: bool = Field(False, description="by the site's proxy (CONNECT), where the server is outside")


class WebhookSettings(Section):
    """An address that is told the same, over HTTPS, signed as https://www.standardwebhooks.com has it."""

    url: str = Field(pattern=r"^https://")
    secret_file: Path = Field(description="0600; 24 bytes or more, in base64 after whsec_, or as they are")
    ca_file: Path | None = Field(None, description="whose certificate it shows; the system's authorities unless given")


class NotifySettings(Section):
    """How the site's own people learn that something waits for them (docs/operations/reviewing.md)."""

    mail: MailSettings | None = None
    webhook: WebhookSettings | None = None
    pause_seconds: float = Field(60, ge=0.1, description="before what did not go is tried again; it grows")


class SiteSettings(Section):
    """All of one host."""

    host: HostId
    state: Path = Field(description="folder of the journal, job folders, caches and sockets")
    journal: Path | None = Field(None, description="folder of the journal, if it has a place of its own")
    tlog: Path | None = Field(None, description="folder of the transparency log, if it has a place of its own")
    runner: Path | None = Field(None, description="folder of the sandbox's job runner, if it has a place of its own")
    key: Path = Field(description="PEM, P-256, 0600: this host's one key")
    centre: CentreSettings
    connections: ConnectionSettings | None = None
    policy: Path = Field(description="the site's policy file")
    executor: Annotated[tuple[ExecutorName, ...], BeforeValidator(as_tuple)] = Field(
        ("sandbox",), description="or several, the preferred one first (docs/executors.md)"
    )
    sandbox: SandboxSettings = SandboxSettings()
    docker: DockerSettings = DockerSettings()
    podman: PodmanSettings = Field(default_factory=PodmanSettings)
    slurm: SlurmSettings = SlurmSettings()
    kubernetes: KubernetesSettings = KubernetesSettings()
    store: RegistrySettings | None = None
    capacity: CapacitySettings = CapacitySettings()
    check: CheckSettings = CheckSettings()
    retention: RetentionSettings = RetentionSettings()
    datasets: dict[DatasetId, DatasetSettings] = {}
    dataset_seconds: float = Field(60, ge=1, description="between two looks at a dataset, which walk all its files")
    dataset_reread_days: float = Field(
        30, ge=0, description="after as many, the bytes of all files of a dataset are read again; 0: never"
    )
    prepare_days: float = Field(
        7,
        ge=0,
        description="for how long what was laid out ahead of an experiment's start is held; 0: none is laid out",
    )
    results: Path | None = Field(None, description="folder for what its own Data API lists as released (its results)")
    heartbeat_seconds: float = Field(10, ge=1)
    keep_job_folders: bool = Field(False, description="for debugging: job folders stay after the job")
    metrics_port: int | None = Field(None, description="loopback port of /metrics")
    reviewers_group: str | None = Field(
        None, description="local group whose accounts decide about releases, by review_socket"
    )
    review_socket: Path | None = Field(None, description="where; review.sock in the folder state unless given")
    notify: NotifySettings = NotifySettings()
    log_level: str = "INFO"

    @property
    def executors(self) -> tuple[ExecutorName, ...]:
        """Without what is named twice, the preferred one first."""
        return tuple(dict.fromkeys(self.executor))

    @field_validator("executor")
    @classmethod
    def _some_and_one_engine(cls, value: tuple[ExecutorName, ...]) -> tuple[ExecutorName, ...]:
        if not value:
            raise ValueError("name one executor at least")
        if {"docker", "podman"} <= {*value}:
            raise ValueError("docker and podman keep the same images: name one of the two engines")
        return value

    @property
    def journal_folder(self) -> Path:
        return self.journal or self.state / "journal"

    @property
    def tlog_folder(self) -> Path:
        return self.tlog or self.state / "tlog"

    @property
    def tlog_origin(self) -> str:
        """The name of a new transparency log of this host, as C2SP has it: unique, and with no space."""
        return f"{urlsplit(self.centre.api_url).hostname or 'fedproc'}/hosts/{self.host}"

    @property
    def runner_folder(self) -> Path:
        return self.runner or self.state / "runner"

    @property
    def control_socket(self) -> Path:
        return self.state / "site.sock"

    @property
    def reviewers_socket(self) -> Path:
        return self.review_socket or self.state / "review.sock"


def load(path: Path) -> SiteSettings:
    """Read and check the settings. Raises :class:`InvalidInputError` naming file, key and fault."""
    return load_toml(path, SiteSettings)

"""One task of a tool: what runs, where, with what (D6.1 ``GET /tools/tasks``); names follow FEMTask and CWL."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, field_validator, model_validator

from fedproc.contract.ids import Name, is_safe_path
from fedproc.contract.tool.description import Model
from fedproc.contract.tool.metrics import MOST, MetricDecl
from fedproc.contract.tool.outputs import ContentDecl
from fedproc.contract.tool.placeholders import placeholders_in
from fedproc.contract.tool.statistics import StatisticDecl
from fedproc.contract.tool.traffic import TrafficDecl

VariableName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


class Placement(StrEnum):
    """On which hosts a task becomes jobs."""

    server = "server"
    """on the aggregator, once"""
    client = "client"
    """on every chosen data host"""
    worker = "worker"
    """on every chosen host of any kind"""


class TaskKind(StrEnum):
    """Who ends it."""

    batch = "batch"
    """finishes by itself"""
    service = "service"
    """runs until the orchestrator ends it, when the experiment's batch tasks are over"""


class Condition(StrEnum):
    """What another task must have done first."""

    ready = "ready"
    exited = "exited"


class Disclosure(StrEnum):
    """How much an output says about persons; a site's release policy goes by it."""

    public = "public"
    """says nothing about the data (a version, a time)"""
    aggregate = "aggregate"
    """counts, sums, curves over many persons"""
    model = "model"
    """trained parameters"""
    report = "report"
    """technical findings about the host or the run"""
    individual = "individual"
    """about single persons; no site releases it unless its policy says so expressly"""


class Need(Model):
    task: Name
    condition: Condition


class Ready(Model):
    """When a task counts as ready; exactly one of the three."""

    tcp: Name | None = Field(None, description="name of a declared port on which the tool must listen")
    file: str | None = Field(None, description="path under the work folder that must exist")
    log: str | None = Field(None, description="regular expression that a line of output must match")
    seconds: int = Field(120, ge=1, le=3600, description="longest wait; then the job fails")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(value is not None for value in (self.tcp, self.file, self.log)) != 1:
            raise ValueError("ready: give exactly one of tcp, file, log")
        return self


class PortDecl(Model):
    name: Name
    port: int = Field(ge=1, le=65535)


class ConnectionDecl(Model):
    """A connection of this task to a port of another task: the only network that it has."""

    name: Name
    task: Name
    port: Name
    listen: int | None = Field(None, ge=1, le=65535, description="port inside; as the peer's unless given")
    traffic: TrafficDecl | None = Field(None, description="how much goes over it, how often, and what")


class Gpu(Model):
    count: int = Field(1, ge=1, le=16)
    vram_gb: float = Field(0, ge=0, description="GB (10^9 bytes) that each must have")
    compute_capability: float = Field(0, ge=0)


class Resources(Model):
    """What one job of the task needs; the host reserves it and enforces it as limit."""

    cpus: float = Field(1, gt=0, le=1024)
    memory_mb: int = Field(512, ge=16, description="MB (10^6 bytes)")
    disk_mb: int = Field(1024, ge=1, description="MB of workspace")
    pids: int = Field(256, ge=4, le=65536)
    gpu: Gpu | None = None
    run_seconds: int = Field(3600, ge=1, le=30 * 86400, description="hard limit on running, monotonic clock")


class InputDecl(Model):
    """Something that the host lays out read-only before the job starts, in ``{input}/<name>``."""

    name: Name
    kind: Literal["dataset", "output", "upload"]
    optional: bool = False
    task: Name | None = Field(None, description="kind output: the task whose released outputs are taken")
    output: Name | None = Field(None, description="kind output: which of them; all unless given")
    media_types: tuple[str, ...] = ()
    max_mb: int = Field(100, ge=1, description="kind upload: largest file")

    @model_validator(mode="after")
    def _task_of_output(self) -> Self:
        if (self.kind == "output") != (self.task is not None):
            raise ValueError(f"input {self.name}: 'task' belongs to kind output, and only there")
        return self


class OutputDecl(Model):
    """A file (or, with ``folder``, all regular files below a folder) that may leave the host."""

    name: Name
    path: str = Field(description="relative to {output}")
    media_type: str = Field("application/octet-stream", pattern=r"^[\w.+-]+/[\w.+*-]+$")
    disclosure: Disclosure
    max_mb: float = Field(10, gt=0)
    folder: bool = False
    optional: bool = False
    artefact_for: tuple[Name, ...] = Field(
        (), description="tasks that get it with their start message, encrypted to their hosts' keys"
    )
    min_count_fields: tuple[str, ...] = Field(
        (), description="JSON outputs: names of fields that hold counts of persons, for the site's small-cell check"
    )
    content: ContentDecl | None = Field(None, description="what it holds; without it, a person looks at what leaves")
    statistics: tuple[StatisticDecl, ...] = Field(
        (), max_length=50, description="what it says of persons, for the rules of the site's release"
    )

    @field_validator("path")
    @classmethod
    def _path(cls, value: str) -> str:
        if not is_safe_path(value):
            raise ValueError(f"output path {value!r}: must be relative, without . or .. segments")
        return value


class StopDecl(Model):
    signal: Literal["SIGTERM", "SIGINT", "SIGKILL", "SIGHUP", "SIGUSR1"] = "SIGTERM"
    grace_seconds: float = Field(10, ge=0, le=600)
    exit_codes: tuple[int, ...] = Field(
        (0, 143, 130), description="exit codes that are fine for a service that was asked to end"
    )


class StatusProbe(Model):
    """The tool's own word on success, since exit codes do not tell it: a JSON file under {output}."""

    file: str
    field: str = Field("status", description="top-level field that is looked at")
    success: tuple[str, ...] = ("ok",)


class Runtime(Model):
    """What a task's processes run in. A host takes the first that one of its executors can run."""

    image: str | None = Field(None, pattern=r"^[\w.:/-]+@sha256:[0-9a-f]{64}$", description="container image by digest")
    dockerfile: str | None = Field(None, description="Dockerfile in the tool's folder, built on the host")
    requirements: str | None = Field(
        None, description="hash-locked requirements file in the tool's folder, for a virtual environment"
    )

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not (self.image or self.dockerfile or self.requirements):
            raise ValueError("runtime: give at least one of image, dockerfile, requirements")
        return self


class Task(Model):
    """One template: what runs, where, with what (D6.1 ``GET /tools/tasks``)."""

    name: Name
    description: str = ""
    placement: Placement
    kind: TaskKind = TaskKind.batch
    runtime: Runtime
    command: tuple[str, ...] = Field(min_length=1)
    prepare: tuple[tuple[str, ...], ...] = Field(
        (), description="commands run one after the other before the command, in the same sandbox and limits"
    )
    environment: dict[VariableName, str] = Field(default_factory=dict)
    needs: tuple[Need, ...] = ()
    ready: Ready | None = None
    ports: tuple[PortDecl, ...] = ()
    connections: tuple[ConnectionDecl, ...] = ()
    resources: Resources = Resources()
    inputs: tuple[InputDecl, ...] = ()
    outputs: tuple[OutputDecl, ...] = ()
    metrics: tuple[MetricDecl, ...] = Field(
        (), max_length=MOST, description="the keys of {metrics} whose numbers leave while it runs; no other key does"
    )
    stop: StopDecl = StopDecl()
    status: StatusProbe | None = None
    expected_exit_code: int = Field(0, ge=0, le=255, alias="expectedExitCode")
    runs_received_code: bool = Field(
        False, description="the task runs code that it is sent; a site's policy must allow that for this tool"
    )

    def output(self, name: str) -> OutputDecl | None:
        """The declared output of that name, or None."""
        return next((output for output in self.outputs if output.name == name), None)

    def placeholders(self) -> set[str]:
        """Every placeholder that the command, the prepare steps and the environment use."""
        texts = [*self.command, *self.environment.values(), *(text for step in self.prepare for text in step)]
        return {name for text in texts for name in placeholders_in(text)}

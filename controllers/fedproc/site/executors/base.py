"""What an executor is: five verbs over one job's processes (D6.1 "Orchestrator", docs/executors.md).

An executor starts what a :class:`Spec` describes and tells what became of it. It decides nothing: policy,
resources, deadlines and release belong to the orchestrator. Whatever it starts is named after the job id, so
that a restarted daemon finds it again and never starts it twice.

Every executor gives a job the same surroundings, which the contract suite (tests/site/executors) looks at from inside:
no network but :attr:`Spec.forwards` and :attr:`Spec.ports`, read-only root and mounts, one writable folder
that is also its working directory, an unprivileged user without capabilities or new privileges, limits
enforced, and no secret of the host or of another job in reach.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from fedproc.common.errors import SystemFaultError

WORK = PurePosixPath("/fedproc/work")
SOURCE = PurePosixPath("/fedproc/source")
INPUT = PurePosixPath("/fedproc/input")
ENVIRONMENT = PurePosixPath("/fedproc/environment")
ALIAS_DOMAIN = "fedproc.internal"

Handle = dict[str, Any]
"""What a daemon needs to find a job's processes again; plain JSON, kept in the journal."""


class Phase(StrEnum):
    """Where a submitted job's processes are."""

    running = "running"
    exited = "exited"
    absent = "absent"
    """Nothing under this handle is known: never started, discarded, or its record was lost."""


@dataclass(frozen=True)
class Mount:
    """A folder or file of the host that the job sees read-only at ``target``."""

    source: Path
    target: PurePosixPath


@dataclass(frozen=True)
class Forward:
    """A declared outgoing connection: inside, ``alias:port`` is carried to the unix socket ``socket``.

    ``alias`` is ``<task>.fedproc.internal`` and stands in the job's hosts file. The orchestrator listens on
    ``socket`` before the job is submitted and carries the bytes on.
    """

    alias: str
    port: int
    socket: Path


@dataclass(frozen=True)
class Port:
    """A declared server port: what connects to the unix socket ``socket`` reaches ``127.0.0.1:port`` inside.

    ``socket`` appears, accepting, only once the tool itself listens on the port: that is also how the
    orchestrator learns that a task with a TCP ``ready`` condition is ready.
    """

    name: str
    port: int
    socket: Path


@dataclass(frozen=True)
class Limits:
    """What a job may use. A job that goes beyond is ended, and the observation says by which limit."""

    cpus: float
    memory: int
    """bytes"""
    disk: int
    """bytes, of everything under the workspace"""
    pids: int = 512
    log: int = 16 * 1024 * 1024
    """bytes of standard output and error kept, each; what comes later is counted, not kept"""
    gpus: tuple[str, ...] = ()
    """UUIDs of the GPUs that the job may see"""


@dataclass(frozen=True)
class Stop:
    """How a job is asked to end: the signal, then after ``grace`` seconds SIGKILL to all that is left."""

    signal: str = "SIGTERM"
    grace: float = 10.0


@dataclass(frozen=True)
class Spec:
    """One job as the orchestrator wants it run; placeholders are already filled in."""

    job: str
    command: tuple[str, ...]
    environment: dict[str, str]
    runtime: str
    """what it runs in: the folder of a built virtual environment (sandbox), or an image by digest"""
    workspace: Path
    """the job's writable folder on the host, at :data:`WORK` inside"""
    limits: Limits
    mounts: tuple[Mount, ...] = ()
    forwards: tuple[Forward, ...] = ()
    ports: tuple[Port, ...] = ()
    stop: Stop = field(default_factory=Stop)
    executor: str = ""
    """which of the host's it was made for"""


@dataclass(frozen=True)
class Usage:
    """Resources used, as far as the machine counts them; None is "not counted"."""

    cpu_seconds: float | None = None
    memory_peak: int | None = None
    """bytes"""


@dataclass(frozen=True)
class Observation:
    """What is known of a job's processes at one moment.

    ``exited`` means that the last process is gone, not only the first one. ``exit_code`` follows the shell:
    128 + n for a process ended by signal n. ``limit`` names the limit that ended the job (``memory``,
    ``disk``, ``pids``), ``cancelled`` says that :meth:`Executor.cancel` did. Times are UTC, ISO 8601;
    ``seconds`` is measured with the monotonic clock.
    """

    phase: Phase
    exit_code: int | None = None
    started: str | None = None
    ended: str | None = None
    seconds: float | None = None
    usage: Usage = field(default_factory=Usage)
    limit: str | None = None
    cancelled: bool = False
    detail: str = ""


@dataclass(frozen=True)
class Offer:
    """What an executor can do here now; asked before a job comes, and by ``fedproc site executors``."""

    detail: str = ""
    """what it is: a version, and whose"""
    obstacle: str = ""
    """why it starts no job now, with the cure; empty if it does"""
    lacks: dict[str, str] = field(default_factory=dict)
    """limits that it does not enforce (``cpus``, ``memory``, ``pids``, ``disk``), each with the cure"""
    away: bool = False
    """the obstacle is that whoever runs its jobs does not answer just now"""


class ExecutorError(SystemFaultError):
    """The executor itself could not do what was asked; the job ends as ``error``, not ``failed``."""


class Executor(Protocol):
    """The five verbs, and two questions. All are safe to repeat, and to call again after the daemon was restarted."""

    name: str

    async def submit(self, spec: Spec) -> Handle:
        """Start the job and return as soon as it is started.

        Submitting a job id that was submitted before starts nothing and returns the same handle.
        Raises :class:`ExecutorError` if it cannot be started; then nothing of it is left behind.
        """
        ...

    async def poll(self, handle: Handle, *, until_exit: bool = False) -> Observation:
        """Say how it stands; with ``until_exit`` return only when it is not running any more.

        The wait ends by an event (a pidfd, the engine's event stream), and it may be cancelled.
        """
        ...

    def logs(self, handle: Handle, stream: str = "stdout", *, offset: int = 0) -> AsyncIterator[bytes]:
        """The kept output from byte ``offset`` on, as far as it is there now; ``stdout`` or ``stderr``."""
        ...

    async def cancel(self, handle: Handle) -> None:
        """Ask it to end as its :class:`Stop` says and return at once; what is gone already stays as it is."""
        ...

    async def discard(self, handle: Handle) -> None:
        """End what is left and forget it: no process, container, cgroup or record stays.

        Of the handle only ``job`` is needed, so that a host that has lost its journal can do it, too.
        The workspace is the orchestrator's and is not touched.
        """
        ...

    async def offer(self) -> Offer:
        """What it can do here now. Never raises :class:`ExecutorError`: what fails is the offer's ``obstacle``."""
        ...

    async def records(self) -> dict[str, tuple[float, int]]:
        """All that it keeps, by the names that were submitted: when that changed last (s since 1970), and its bytes.

        Raises :class:`ExecutorError` if it cannot say.
        """
        ...

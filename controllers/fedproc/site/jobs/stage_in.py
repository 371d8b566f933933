"""From an admitted job to a spec that an executor can run: its folders and data, and the filled-in command."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fedproc.common.errors import SystemFaultError
from fedproc.contract.ids import is_safe_path
from fedproc.contract.states import JobState
from fedproc.contract.tool.placeholders import fill
from fedproc.contract.tool.task import InputDecl, Task
from fedproc.contract.wire.messages import FileRef, JobOrder, Peer
from fedproc.site.centre.api import OnWait
from fedproc.site.executors.base import ALIAS_DOMAIN, INPUT, SOURCE, Forward, Limits, Mount, Port, Spec, Stop
from fedproc.site.jobs.grants import ask_first
from fedproc.site.jobs.record import JobRecord
from fedproc.site.jobs.resources.shares import Share
from fedproc.site.jobs.services import Services
from fedproc.site.jobs.workspace import SPEC, Workspace, placeholders
from fedproc.site.tools.cache import InstalledTool, Runtime

_ARTEFACTS = "artefacts"
_BEFORE_DATA = (JobState.accepted, JobState.materialising)


@dataclass(frozen=True)
class Prepared:
    """All that is needed to make the specs of a job's steps."""

    task: Task
    installed: InstalledTool
    runtime: Runtime
    workspace: Workspace
    datasets: tuple[Mount, ...]
    share: Share
    host: str


async def create_layout(services: Services, record: JobRecord, workspace: Workspace, on_wait: OnWait) -> None:
    """Ask whether its user may use its datasets, make the job's folders and fetch its input files.

    What is whole already stays: the daemon may have been lost after it had started the job and before its journal
    knew, and the job may be writing there.
    """
    await ask_first(services, record, on_wait)
    order = record.order
    if await asyncio.to_thread(_make_folders, workspace, order):
        return
    for ref in order.inputs:
        await fetch(services, ref, workspace.input / (ref.input or "files"), on_wait)
    await asyncio.to_thread(workspace.mark_staged_in)


def _make_folders(workspace: Workspace, order: JobOrder) -> bool:
    """Make the folders, unless all was staged in before; says whether nothing is left to be fetched."""
    if workspace.is_staged_in():
        return True
    workspace.make(order.parameters, {name: list(ids) for name, ids in order.hosts.items()})
    if not order.inputs:
        workspace.mark_staged_in()
    return not order.inputs


async def materialise(
    services: Services, record: JobRecord, task: Task, workspace: Workspace, on_wait: OnWait
) -> tuple[Mount, ...]:
    """Have the Data API materialise the job's datasets; returns where the job sees them. Safe to repeat.

    The record has their versions from then on: those that the job was given first.
    """
    mounts: list[Mount] = []
    for declared in (entry for entry in task.inputs if entry.kind == "dataset"):
        mounts += await _datasets(services, record, declared, workspace, on_wait)
    return tuple(mounts)


async def freeze_cohorts(services: Services, record: JobRecord) -> None:
    """Freeze what the order selects of its datasets, before the job waits for anything: once, however often called.

    Raises :class:`SystemFaultError`, or :class:`RefusedError` where the site's floor of persons forbids it.
    """
    for use in record.order.datasets:
        if (selection := record.order.selections.get(use.id)) is not None and record.state in _BEFORE_DATA:
            await services.data.freeze(use, selection, record.job, services.policy.least_count)


async def confirm_datasets(services: Services, record: JobRecord) -> None:
    """Whether the datasets are still what the job was given: nothing that comes of others is released.

    Raises :class:`SystemFaultError` with code ``data.changed``.
    """
    for dataset, version in record.versions.items():
        await services.data.confirm(dataset, version, record.job)


async def fetch(services: Services, ref: FileRef, folder: Path, on_wait: OnWait) -> None:
    """Fetch one file below ``folder``. Raises :class:`SystemFaultError` if its path is not a safe one."""
    if not is_safe_path(ref.path):
        raise SystemFaultError(f"file {ref.file} has the path {ref.path!r}, which is not accepted here")
    await services.transfer.fetch(ref, folder / ref.path, on_wait)


async def fetch_artefacts(services: Services, record: JobRecord, workspace: Workspace, on_wait: OnWait) -> None:
    """Fetch what the job's peers made for it, and name the hosts that are left, unless it runs already."""
    if record.start is None or record.state is JobState.running:
        return
    await asyncio.to_thread(workspace.name_hosts, hosts_at_start(record.order.hosts, record.start.peers))
    for ref in record.start.artefacts:
        await fetch(services, ref, workspace.input / _ARTEFACTS, on_wait)


def hosts_at_start(placed: Mapping[str, Sequence[str]], peers: Iterable[Peer]) -> dict[str, list[str]]:
    """The hosts by task when a gang starts: of a task that is connected with this one, those that are still there."""
    found: dict[str, list[str]] = {}
    for peer in peers:
        found.setdefault(peer.task, []).append(peer.host)
    return {**{task: list(hosts) for task, hosts in placed.items()}, **found}


async def _datasets(
    services: Services, record: JobRecord, declared: InputDecl, workspace: Workspace, on_wait: OnWait
) -> list[Mount]:
    if not record.order.datasets and not declared.optional:
        raise SystemFaultError(f"input {declared.name} needs a dataset, and the order names none", code="data.missing")
    mounts = []
    for use in record.order.datasets:
        mounted = await services.data.materialise(use, record.job, on_wait)
        record.versions.setdefault(use.id, mounted.version)
        await asyncio.to_thread((workspace.input / declared.name / use.id).mkdir, parents=True, exist_ok=True)
        mounts.append(Mount(mounted.path, INPUT / declared.name / use.id))
    return mounts


def make_spec(record: JobRecord, prepared: Prepared, step: int) -> Spec:
    """The spec of one step: the prepare commands in their order, then the command itself.

    A prepare step has no connections. Each step is a submission of its own, named ``JOB-STEP`` but for the
    last, which is named after the job.
    """
    task, workspace = prepared.task, prepared.workspace
    last = step == len(task.prepare)
    values = _values(record, prepared)
    share = prepared.share
    return Spec(
        job=record.job if last else f"{record.job}-{step}",
        command=tuple(fill(text, values) for text in (task.command if last else task.prepare[step])),
        environment={name: fill(text, values) for name, text in task.environment.items()},
        runtime=prepared.runtime.reference,
        workspace=workspace.work,
        limits=Limits(share.cpus, share.memory, share.disk, pids=task.resources.pids, gpus=share.gpus),
        mounts=(
            Mount(prepared.installed.source, SOURCE),
            Mount(workspace.input, INPUT),
            Mount(workspace.spec, SPEC),
            *prepared.datasets,
        ),
        forwards=forwards(task, workspace, record) if last else (),
        ports=ports(task, workspace) if last else (),
        stop=Stop(task.stop.signal, task.stop.grace_seconds),
        executor=prepared.runtime.executor,
    )


def forwards(task: Task, workspace: Workspace, record: JobRecord) -> tuple[Forward, ...]:
    """The declared outgoing connections, each with its socket in the job's folder."""
    return tuple(
        Forward(f"{c.task}.{ALIAS_DOMAIN}", c.listen or _peer_port(record, c.task, c.port), workspace.outgoing / c.name)
        for c in task.connections
    )


def ports(task: Task, workspace: Workspace) -> tuple[Port, ...]:
    """The declared server ports, each with its socket in the job's folder."""
    return tuple(Port(p.name, p.port, workspace.incoming / p.name) for p in task.ports)


def _peer_port(record: JobRecord, task: str, port: str) -> int:
    """The peer's port number, which its TLS name begins with."""
    for peer in record.start.peers if record.start else ():
        if peer.task == task and port in peer.server_names:
            return int(peer.server_names[port].partition("-")[0])
    raise SystemFaultError(f"the start message names no peer with port {port} of task {task}")


def _values(record: JobRecord, prepared: Prepared) -> dict[str, str]:
    order = record.order
    values = placeholders(prepared.task) | {
        "python": prepared.runtime.python,
        "source": str(SOURCE),
        "host": prepared.host,
        "job": order.job,
        "experiment": order.experiment,
    }
    for name, value in order.parameters.items():
        values[f"parameter.{name}"] = value if isinstance(value, str) else json.dumps(value)
    ways = forwards(prepared.task, prepared.workspace, record) if record.start else ()
    for forward, connection in zip(ways, prepared.task.connections, strict=False):
        prefix = f"connection.{connection.name}"
        values |= {
            f"{prefix}.host": forward.alias,
            f"{prefix}.port": str(forward.port),
            f"{prefix}.address": f"{forward.alias}:{forward.port}",
        }
    return values

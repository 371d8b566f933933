"""Where an experiment may run: one selector for each task, with the reason why a host cannot be chosen. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from fedproc.central.api.pages.formatting import ago, counted
from fedproc.contract.api.hosts import DatasetView, HostView
from fedproc.contract.api.tools import TaskView, ToolSummary, ToolView
from fedproc.contract.tool.reading import Kind, fits, kinds_read, words_held, words_read
from fedproc.contract.tool.task import Placement

_MB = 1_000_000
MOST = 100
"""hosts that one selector shows: those that are chosen first, then those that can be"""
_ROLES = {Placement.client: "data", Placement.server: "aggregator"}


@dataclass(frozen=True)
class Choice:
    """One host in a selector; ``obstacle`` says why it cannot be chosen, ``note`` what is good to know."""

    host: str
    obstacle: str
    note: str
    chosen: bool
    datasets: tuple[tuple[DatasetView, bool], ...] = ()
    """what it offers, each with whether it is chosen"""


@dataclass(frozen=True)
class Selector:
    """The hosts of one task; ``same_as`` names the task whose hosts they are, if they are not chosen here."""

    task: TaskView
    choices: tuple[Choice, ...] = ()
    same_as: str = ""
    takes: str = "hosts"
    """``hosts``, ``datasets`` (their hosts follow), ``both``, or ``nothing``: there is no choice"""
    left_out: int = 0
    """hosts that are not shown, where there are many"""

    @property
    def is_stuck(self) -> bool:
        """Whether nothing here can be chosen."""
        return bool(self.choices) and all(choice.obstacle for choice in self.choices)


@dataclass(frozen=True)
class Federation:
    """What there is: hosts, what they offer, and where server tasks are placed.

    Unless it ``is_whole``, they offer more than these ``datasets``.
    """

    hosts: Sequence[HostView]
    datasets: Sequence[DatasetView]
    aggregator: str
    is_whole: bool = True

    def offered(self) -> dict[str, list[DatasetView]]:
        """The datasets by host."""
        found: dict[str, list[DatasetView]] = {}
        for one in self.datasets:
            found.setdefault(one.host, []).append(one)
        return found


def selectors(
    tool: ToolView, tasks: Sequence[TaskView], there: Federation, hosts: Collection[str], datasets: Collection[str]
) -> list[Selector]:
    """One for each task; ``hosts`` and ``datasets`` are those that are chosen already."""
    at_sites = [task for task in tasks if task.placement is not Placement.server]
    return [_selector(tool, task, at_sites, there, hosts, datasets) for task in tasks]


def unfit(tasks: Sequence[TaskView], offered: Iterable[DatasetView]) -> dict[str, str]:
    """Of the datasets that hold nothing of what the tasks read: why; as a submission would be refused."""
    reads = [kinds_read(entry.get("media_types", ())) for entry in _datasets_taken(tasks)]
    if not reads or None in reads:
        return {}
    everything = frozenset[Kind]().union(*(read for read in reads if read is not None))
    return {
        each.id: f"it holds {words_held(each.kinds or ())}, and the tool reads {words_read(everything)}"
        for each in offered
        if not any(fits(each.kinds, read) for read in reads)
    }


def unfit_tools(tasks: Iterable[TaskView], chosen: Sequence[DatasetView]) -> dict[str, str]:
    """Of the tools whose tasks these are and that cannot read what is chosen: why."""
    by_tool: dict[str, list[TaskView]] = {}
    for task in tasks:
        by_tool.setdefault(task.tool, []).append(task)
    found = {}
    for tool, own in by_tool.items():
        if not takes_datasets(own):
            found[tool] = "it reads no dataset"
        elif reasons := unfit(own, chosen):
            dataset, reason = next(iter(reasons.items()))
            found[tool] = f"{dataset}: {reason}"
    return found


def takes_datasets(tasks: Iterable[TaskView]) -> bool:
    """Whether any of them reads a dataset."""
    return bool(_datasets_taken(tasks))


def needs_datasets(tasks: Sequence[TaskView]) -> bool:
    """Whether the hosts follow from the datasets that are chosen."""
    return _takes([task for task in tasks if task.placement is not Placement.server]) == "datasets"


def _selector(
    tool: ToolView,
    task: TaskView,
    at_sites: Sequence[TaskView],
    there: Federation,
    hosts: Collection[str],
    datasets: Collection[str],
) -> Selector:
    if task.placement is Placement.server:
        able = [host for host in there.hosts if "aggregator" in host.roles]
        return Selector(task, tuple(_aggregator(tool, task, host, there.aggregator) for host in able), takes="nothing")
    if task is not at_sites[0]:
        return Selector(task, same_as=at_sites[0].name)
    takes = _takes(at_sites)
    offered = there.offered() if takes != "hosts" else {}
    shown = [host for host in there.hosts if there.is_whole or takes != "datasets" or host.id in offered]
    choices = [_choice(tool, at_sites, host, offered.get(host.id, ()), takes, hosts, datasets) for host in shown]
    choices.sort(key=lambda choice: (not choice.chosen, bool(choice.obstacle)))
    return Selector(task, tuple(choices[:MOST]), takes=takes, left_out=len(choices[MOST:]))


def _takes(tasks: Iterable[TaskView]) -> str:
    """What the user chooses: where a task must have a dataset, its host follows from it."""
    inputs = _datasets_taken(tasks)
    if not inputs:
        return "hosts"
    return "datasets" if any(not entry.get("optional") for entry in inputs) else "both"


def _datasets_taken(tasks: Iterable[TaskView]) -> list[dict[str, Any]]:
    return [entry for task in tasks for entry in task.inputs if entry["kind"] == "dataset"]


def _aggregator(tool: ToolView, task: TaskView, host: HostView, aggregator: str) -> Choice:
    elsewhere = "" if host.id == aggregator else f"this federation places server tasks on {aggregator}"
    return Choice(host.id, elsewhere or obstacle(host, tool, [task]), _note(host, tool), host.id == aggregator)


def _choice(
    tool: ToolView,
    tasks: Sequence[TaskView],
    host: HostView,
    offered: Sequence[DatasetView],
    takes: str,
    hosts: Collection[str],
    datasets: Collection[str],
) -> Choice:
    is_silent = not host.alive and host.last_heartbeat is not None
    awaited = host.model_copy(update={"alive": True}) if is_silent else host
    found = obstacle(awaited, tool, tasks)
    if not found and takes == "datasets" and not offered:
        found = "it offers no dataset"
    shown = tuple((one, one.id in datasets) for one in offered)
    chosen = host.id in hosts or any(is_chosen for _, is_chosen in shown)
    note = f"{_silence(host)}; its job waits until it is back" if is_silent else _note(host, tool)
    return Choice(host.id, found, note, chosen, shown)


def obstacle(host: HostView, tool: ToolView, tasks: Sequence[TaskView]) -> str:
    """Why none of these tasks would run on the host now; empty if one would."""
    fitting = [task for task in tasks if _ROLES.get(task.placement, "") in {"", *host.roles}]
    if not fitting:
        roles = " or ".join(sorted({_ROLES[task.placement] for task in tasks if task.placement in _ROLES}))
        return f"it is enrolled as {', '.join(host.roles)}; the task runs on hosts enrolled as {roles}"
    return _condition(host) or _admission(host, tool) or _resources(host, fitting)


def _condition(host: HostView) -> str:
    if not host.alive:
        return _silence(host)
    if not host.accepted:
        return "it has not passed its acceptance yet"
    if host.drained is not None:
        return f"it takes no new jobs: the federation's operator drains it ({host.drained})"
    if host.condition != "accepting":
        return f"it takes no jobs now: {host.condition_text or host.condition}"
    return ""


def _silence(host: HostView) -> str:
    return f"offline: last heard of {ago(host.last_heartbeat)}" if host.last_heartbeat else "it was never heard of"


def _admission(host: HostView, tool: ToolView) -> str:
    if admits(host, tool):
        return ""
    if any(line.id == tool.id for line in host.tools):
        return f"its site admits another version of {tool.id}, not {tool.version}"
    return f"its site does not admit {tool.id}"


def admits(host: HostView, tool: ToolSummary) -> bool:
    """Whether the host's allow-list, as its last heartbeat told it, has this version."""
    return any(line.id == tool.id and line.digest in {None, tool.digest} for line in host.tools)


def _resources(host: HostView, tasks: Sequence[TaskView]) -> str:
    if host.capacity is None:
        return ""
    for task in tasks:
        needs, has = task.resources, host.capacity
        if needs.cpus > has.cpus:
            return f"{task.name} needs {needs.cpus:g} CPUs, it has {has.cpus:g}"
        if needs.memory_mb * _MB > has.memory:
            return f"{task.name} needs {needs.memory_mb} MB of memory, it has {has.memory // _MB}"
        if needs.gpu is not None and len(has.gpus) < needs.gpu.count:
            return f"{task.name} needs {needs.gpu.count} GPU, it has {len(has.gpus)}"
    return ""


def _note(host: HostView, tool: ToolView) -> str:
    """What is no obstacle."""
    ready = any(line.id == tool.id and line.digest == tool.digest for line in host.tools_ready)
    waiting = counted(host.open_jobs, "open job") if host.open_jobs else ""
    return "; ".join(filter(None, ("" if ready else "fetches the tool's parts first", waiting)))

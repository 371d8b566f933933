"""From a request, a tool and the enrolled hosts to jobs (docs/glossary.md). Pure: it reads and writes nothing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from fedproc.central.experiments.columns import AtHost, column_errors
from fedproc.central.experiments.fitting import unfit
from fedproc.central.experiments.gangs import gang_tasks
from fedproc.central.experiments.parameters import FieldError, Parameters, field_error
from fedproc.common.errors import InvalidInputError
from fedproc.common.text import did_you_mean
from fedproc.contract.api.experiments import ExperimentRequest, RunRequest
from fedproc.contract.tool.columns import names_columns
from fedproc.contract.tool.privacy import LEAST_HOSTS, masked_outputs
from fedproc.contract.tool.reading import most_at_host
from fedproc.contract.tool.task import Condition, Placement, Task
from fedproc.contract.tool.tool import Tool
from fedproc.contract.wire.messages import DatasetUse
from fedproc.contract.wire.selection import Selection

_TOLD = 10
"""so many faults are told in the error's text; its detail has all"""
_ROLE = {Placement.client: "data", Placement.server: "aggregator"}


@dataclass(frozen=True)
class HostFacts:
    """What placement has to know of an enrolled host.

    ``datasets`` are the versions of what it last offered, by id; None if it was never heard of. One that is not
    ``accepted`` takes its acceptance only.
    """

    id: str
    active: bool
    roles: frozenset[str]
    datasets: Mapping[str, str] | None
    accepted: bool = True
    columns: Callable[[str], Mapping[str, str] | None] = lambda _: None
    """the types of all columns of one of them by name; None where not all are known"""
    ahead: bool = False
    """whether it lays out ahead what a job needs"""
    kinds: Mapping[str, Collection[str] | None] = field(default_factory=dict)
    """what each of its datasets holds, as far as it says so"""


@dataclass(frozen=True)
class Placed:
    """One job to be."""

    host: str
    task: Task
    parameters: dict[str, Any]
    datasets: tuple[DatasetUse, ...]
    selections: Mapping[str, Selection] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """What a request comes to: the request as accepted, and its jobs in the order of tasks and chosen hosts."""

    request: ExperimentRequest
    jobs: tuple[Placed, ...]
    ahead: frozenset[str] = frozenset()
    """of one that is to be prepared: those of its hosts that lay out ahead"""


def named_hosts(request: RunRequest, aggregator: str) -> frozenset[str]:
    """Every host that placement has to know about for this request."""
    of_datasets = {dataset.partition(":")[0] for dataset in request.datasets}
    return frozenset({*request.hosts, *of_datasets, *request.host_parameters, aggregator})


def plan(
    request: ExperimentRequest,
    tool: Tool,
    hosts: Mapping[str, HostFacts],
    aggregator: str,
    *,
    acceptance: bool = False,
    names: Callable[[], Iterable[str]] = tuple,
) -> Plan:
    """Place the request's jobs; ``acceptance``: on hosts that are not accepted, too.

    ``names`` gives the hosts that there are, so that the nearest to one that there is not can be told.

    Raises :class:`InvalidInputError` with every fault at once, each with its cure.
    """
    chosen = list(request.hosts) or list(dict.fromkeys(d.partition(":")[0] for d in request.datasets))
    placing = _Placing(request, tool, hosts, aggregator, chosen, acceptance, names)
    if field_errors := list(placing.field_errors()):
        first = "; ".join(f"{entry['where']}: {entry['what']} ({entry['cure']})" for entry in field_errors[:_TOLD])
        more = f"; and {len(field_errors) - _TOLD} more" if len(field_errors) > _TOLD else ""
        raise InvalidInputError(
            f"the experiment cannot be placed: {first}{more}", code="placement", errors=field_errors
        )
    accepted = {"hosts": chosen, "version": tool.version, "parameters": placing.parameters.everywhere}
    able = frozenset(host for host, facts in hosts.items() if request.prepare and facts.ahead)
    return Plan(request.model_copy(update=accepted), tuple(placing.jobs()), able)


class _Placing:
    def __init__(
        self,
        request: ExperimentRequest,
        tool: Tool,
        hosts: Mapping[str, HostFacts],
        aggregator: str,
        chosen: list[str],
        acceptance: bool,
        names: Callable[[], Iterable[str]],
    ) -> None:
        self._names = names
        self._request = request
        self._tool = tool
        self._hosts = hosts
        self._aggregator = aggregator
        self._chosen = chosen
        self._acceptance = acceptance
        self.parameters = Parameters(tool, request.parameters, request.host_parameters)
        self._datasets = {host: [d for d in request.datasets if d.partition(":")[0] == host] for host in chosen}

    def jobs(self) -> Iterator[Placed]:
        for task in self._tool.tasks:
            for host in self._hosts_of(task):
                uses = tuple(self._uses(host)) if _takes_datasets(task) else ()
                yield Placed(host, task, self.parameters.of(host), uses, self._selections(host) if uses else {})

    def _hosts_of(self, task: Task) -> list[str]:
        if task.placement is Placement.server:
            return [self._aggregator]
        if task.placement is Placement.client:
            return [host for host in self._chosen if self._has_role(host, "data")]
        return self._chosen

    def _uses(self, host: str) -> Iterator[DatasetUse]:
        offered = self._hosts[host].datasets or {}
        for dataset in self._datasets[host]:
            name = dataset.partition(":")[2]
            yield DatasetUse(id=name, version=offered.get(name))

    def _selections(self, host: str) -> dict[str, Selection]:
        chosen = {dataset: self._request.dataset_selections.get(dataset, self._request.selection)
                  for dataset in self._datasets[host]}  # fmt: skip
        return {dataset.partition(":")[2]: found for dataset, found in chosen.items() if found is not None}

    def _has_role(self, host: str, role: str) -> bool:
        return host in self._hosts and role in self._hosts[host].roles

    def field_errors(self) -> Iterator[FieldError]:
        yield from self._unusable_hosts()
        yield from self._idle_hosts()
        yield from self._too_few_hosts()
        yield from self._empty_tasks()
        yield from self._wrong_datasets()
        yield from self._missing_datasets()
        yield from self._too_many_datasets()
        yield from (found for host in self._chosen for found in self._unfit(host))
        yield from self._idle_selections()
        yield from self._wrong_parameters()

    def _unusable_hosts(self) -> Iterator[FieldError]:
        for host in self._chosen:
            facts = self._hosts.get(host)
            if facts is None:
                near = did_you_mean(host, self._names())
                yield field_error("hosts", f"{host} is not enrolled{near}", "fedproc hosts lists the hosts there are")
            elif not facts.active:
                yield field_error("hosts", f"{host} is not active: the operator revoked it", "leave it out, or ask him")
            elif not facts.accepted and not self._acceptance:
                yield field_error("hosts", f"{host} has not passed its acceptance yet", "leave it out, or wait")
        if any(task.placement is Placement.server for task in self._tool.tasks):
            yield from self._unusable_aggregator()

    def _unusable_aggregator(self) -> Iterator[FieldError]:
        facts = self._hosts.get(self._aggregator)
        if facts is None or not facts.active or "aggregator" not in facts.roles:
            what = f"tool {self._tool.id} needs an aggregator, and {self._aggregator} is not enrolled and active as one"
            yield field_error("tool", what, "ask the federation's operator to enrol it")

    def _idle_hosts(self) -> Iterator[FieldError]:
        busy = {host for task in self._tool.tasks for host in self._hosts_of(task)}
        roles = sorted({_ROLE.get(task.placement, "any") for task in self._tool.tasks} - {"any"})
        for host in self._chosen:
            if host in self._hosts and host not in busy:
                what = f"{host} is enrolled as {', '.join(sorted(self._hosts[host].roles))}; no task would run there"
                yield field_error("hosts", what, f"choose hosts enrolled as {' or '.join(roles)}")

    def _too_few_hosts(self) -> Iterator[FieldError]:
        rule = self._tool.on_host_lost
        if rule.action == "continue" and 0 < len(self._chosen) < rule.min_hosts:
            what = f"{self._tool.id} needs {rule.min_hosts} hosts or more, and {len(self._chosen)} is chosen"
            yield field_error("hosts", what, "choose more hosts or datasets; fedproc data lists what there is")

        given = self.parameters.everywhere
        masked = [task for task in self._tool.tasks if masked_outputs(self._tool.parameters, given, task.name)]
        if any(len(self._hosts_of(task)) < LEAST_HOSTS for task in masked):
            what = f"a masked sum is of {LEAST_HOSTS} hosts or more: of two, each knows what the other has"
            yield field_error("hosts", what, "choose more hosts or datasets, or do without secure sums")

    def _empty_tasks(self) -> Iterator[FieldError]:
        if any(host not in self._hosts for host in self._chosen):
            return  # what is missing is told already
        for task in self._tool.tasks:
            if not self._hosts_of(task):
                kind = "data hosts" if task.placement is Placement.client else "hosts"
                yield field_error("hosts", f"task {task.name} runs on the chosen {kind}, and none is chosen",
                            "name hosts or datasets; fedproc data lists what there is")  # fmt: skip

    def _wrong_datasets(self) -> Iterator[FieldError]:
        for dataset in self._request.datasets:
            host, _, name = dataset.partition(":")
            if host not in self._chosen:
                yield field_error("datasets", f"{dataset} lies on {host}, which is not among the chosen hosts",
                            f"add {host} to hosts, or leave hosts out")  # fmt: skip
            elif host in self._hosts and (offered := self._hosts[host].datasets) is not None and name not in offered:
                there = ", ".join(f"{host}:{other}" for other in sorted(offered)[:10]) or "none at all"
                near = did_you_mean(name, offered)
                yield field_error("datasets", f"{host} offers no dataset {name!r}{near}", f"it offers: {there}")

    def _missing_datasets(self) -> Iterator[FieldError]:
        for task in self._tool.tasks:
            if not any(entry.kind == "dataset" and not entry.optional for entry in task.inputs):
                continue
            for host in self._hosts_of(task):
                if not self._datasets.get(host):
                    yield field_error("datasets", f"task {task.name} needs a dataset, and none of {host} is chosen",
                                f"add one of {host}'s (fedproc data), or leave {host} out")  # fmt: skip

    def _too_many_datasets(self) -> Iterator[FieldError]:
        most = most_at_host(self._tool.parameters)
        for host, chosen in self._datasets.items():
            if most is not None and len(chosen) > most:
                unit = "dataset" if most == 1 else "datasets"
                what = f"{self._tool.id} takes {most} {unit} of each host, and {len(chosen)} of {host} are chosen: "
                cure = f"leave {' and '.join(chosen[most:])} out; another experiment may take it"
                yield field_error("datasets", what + ", ".join(chosen), cure)

    def _unfit(self, host: str) -> Iterator[FieldError]:
        kinds = self._hosts[host].kinds if host in self._hosts else {}
        held = {each: kinds.get(each.partition(":")[2]) for each in self._datasets[host]}
        return unfit(self._tool.id, self._tool.tasks, held)

    def _idle_selections(self) -> Iterator[FieldError]:
        for dataset in self._request.dataset_selections:
            if dataset not in self._request.datasets:
                yield field_error(f"dataset_selections.{dataset}", f"{dataset} is not among the chosen datasets",
                            "add it to datasets, or leave the selection out")  # fmt: skip
        if self._request.selection is not None and not self._request.datasets:
            yield field_error("selection", "no dataset is chosen of which it could select", "choose datasets")

    def _wrong_parameters(self) -> Iterator[FieldError]:
        at_work = list(dict.fromkeys(host for task in self._tool.tasks for host in self._hosts_of(task)))
        at_work += [host for host in self._chosen if host not in self._hosts]
        seen: set[tuple[str, str]] = set()
        for host in at_work:
            for entry in self.parameters.field_errors(host, chosen=host in self._chosen):
                if (place := (entry["where"], entry["what"])) not in seen:
                    seen.add(place)
                    yield entry
        if names_columns(self._tool.parameters):
            fitting = [host for host in self._chosen if not [*self._unfit(host)]]  # of others it would say it twice
            yield from column_errors(self._tool.parameters, map(self._at_host, fitting))
        for host in self._request.host_parameters:
            if host not in at_work:
                yield field_error(f"host_parameters.{host}", f"{host} runs no task of this experiment",
                            "leave it out, or add it to hosts")  # fmt: skip

    def _at_host(self, host: str) -> AtHost:
        facts = self._hosts.get(host)
        chosen = {each: facts.columns(each.partition(":")[2]) if facts else None for each in self._datasets[host]}
        return AtHost(self.parameters.of(host), chosen)


def _takes_datasets(task: Task) -> bool:
    return any(entry.kind == "dataset" for entry in task.inputs)


@dataclass(frozen=True)
class Window:
    """A job's deadlines, in seconds since 1970."""

    start_by: float
    end_by: float
    release_by: float


def windows(tool: Tool, now: float, start_within: float, hold: float, release: float) -> dict[str, Window]:
    """The deadlines of each task's jobs.

    A job must start within ``start_within`` of when it can: now, or, where it needs other tasks to have exited,
    the last moment at which their outputs may be released. A gang's job may ``hold`` for the others before it
    runs. All durations in seconds.
    """
    gang = gang_tasks(tool)
    found: dict[str, Window] = {}

    def window(task: Task) -> Window:
        if task.name not in found:
            needed = [tool.task(need.task) for need in task.needs if need.condition is Condition.exited]
            start_by = max([now, *(window(other).release_by for other in needed)]) + start_within
            end_by = start_by + task.resources.run_seconds + (hold if task.name in gang else 0)
            found[task.name] = Window(start_by, end_by, end_by + release)
        return found[task.name]

    return {task.name: window(task) for task in tool.tasks}

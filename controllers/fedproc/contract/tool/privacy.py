"""Parameters that protect persons from those who compute, known by keywords of their JSON Schema.

``x-secure-sums: [TASK.OUTPUT, …]`` stands at a boolean: where it is true, hosts mask the numbers of these outputs, so
that nothing but their sum over all hosts can be read. ``x-privacy: epsilon`` and ``x-privacy: delta`` stand at numbers:
the differential privacy with which the tool answers where they are given. Whoever does not know the keywords ignores
them, as JSON Schema (2020-12, section 6.5) has it; an order says by a critical field that outputs are masked.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fedproc.contract.tool.closed_schema import leaves_of
from fedproc.contract.tool.leaving import OF_PERSONS
from fedproc.contract.tool.statistics import StatisticDecl
from fedproc.contract.tool.task import OutputDecl, Task

SUMS = "x-secure-sums"
PRIVACY = "x-privacy"
LEAST_HOSTS = 3
"""of a masked sum: of two, each knows the other's part when it sees the sum"""
_NOT_MASKED = "this site demands secure sums of this tool"
_NOT_PRIVATE = "this site demands differential privacy of this tool"
_KNOWN_BEFORE = frozenset({"x-from", "const"})


@dataclass(frozen=True)
class Spent:
    """Differential privacy (C. Dwork, A. Roth, 2014, definition 2.4); smaller is more private."""

    epsilon: float
    delta: float

    def is_within(self, most: Spent) -> bool:
        return self.epsilon <= most.epsilon and self.delta <= most.delta


def masked_outputs(schema: Mapping[str, Any], given: Mapping[str, Any], task: str) -> frozenset[str]:
    """The outputs of a task that leave masked, by the tool's parameters' schema and what they are set to."""
    named = [name for key, names in _sums(schema) if given.get(key) is True for name in names]
    return frozenset(output for where, _, output in (name.partition(".") for name in named) if where == task)


def privacy_of(schema: Mapping[str, Any], given: Mapping[str, Any]) -> Spent | None:
    """What an experiment's parameters bound its privacy loss by; None if they do not."""
    names = {value: key for key, value in _keyword(schema, PRIVACY)}
    values = [given.get(names.get(kind, "")) for kind in ("epsilon", "delta")]
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return None
    return Spent(*map(float, values))  # type: ignore[arg-type]


def unmet(
    schema: Mapping[str, Any], given: Mapping[str, Any], task: Task, *, secure_sums: bool, most: Spent | None
) -> str | None:
    """Why a site that demands these refuses a job of the task, if so; one of a task without data it never does."""
    masked = masked_outputs(schema, given, task.name)
    text = unmet_by(task, masked, privacy_of(schema, given), secure_sums=secure_sums, most=most)
    if text is None:
        return None
    if text == _NOT_PRIVATE and most is not None:
        return text + _cure([f"{key} of at most {getattr(most, kind):g}" for key, kind in _keyword(schema, PRIVACY)])
    return text + _cure(_choices(schema, task))


def unmet_by(
    task: Task, masked: Collection[str], spent: Spent | None, *, secure_sums: bool, most: Spent | None
) -> str | None:
    """The same of a job whose ``masked`` outputs and ``spent`` privacy are known already, without what cures it."""
    if not any(entry.kind == "dataset" for entry in task.inputs):
        return None
    if secure_sums and any(_plain(task, masked)):
        return _NOT_MASKED
    if most is not None and (spent is None or not spent.is_within(most)):
        return _NOT_PRIVATE
    return None


def _plain(task: Task, masked: Collection[str]) -> Iterator[str]:
    """The ways by which what a task says of persons would leave as it is."""
    of_persons = [output.name for output in task.outputs if output.disclosure in OF_PERSONS]
    yield from (f"output {name}" for name in of_persons if name not in masked)
    if not masked:
        yield "a task of which nothing is masked"
    if task.metrics:
        yield "metrics"
    if task.connections or task.ports:
        yield "connections"


def _choices(schema: Mapping[str, Any], task: Task) -> list[str]:
    """What to ask for so that all of the task leaves masked; nothing where that is not to be had."""
    here = {key: [name for name in names if name.startswith(f"{task.name}.")] for key, names in _sums(schema)}
    could = {name.partition(".")[2] for names in here.values() for name in names}
    return [] if any(_plain(task, could)) else [f"{key}=true" for key, names in here.items() if names]


def _cure(names: Sequence[str]) -> str:
    return f": ask for {' and '.join(names)}" if names else ": this version has no parameter for it; ask the site"


def problems(schema: Mapping[str, Any], tasks: Sequence[Task], *, goes_on: bool) -> Iterator[str]:
    """What is wrong with the keywords. ``goes_on``: the tool goes on without a host that is lost."""
    known = {f"{task.name}.{output.name}": (task, output) for task in tasks for output in task.outputs}
    for key, names in _sums(schema):
        where = f"parameters: {key}: {SUMS}"
        described = schema["properties"][key]
        if described.get("type") != "boolean" or described.get("x-scope") == "host":
            yield f"{where}: it is a boolean, the same for all hosts"
        if goes_on:
            yield f"{where}: a masked sum is of all hosts or of none: on_host_lost must be fail"
        for name in names:
            if name not in known:
                yield f"{where}: {name!r} is no output of this tool, as TASK.OUTPUT"
            else:
                yield from (f"{where}: {name}: {text}" for text in _unfit(*known[name]))
    wrong = [value for _, value in _keyword(schema, PRIVACY) if value not in ("epsilon", "delta")]
    yield from (f"parameters: {PRIVACY} is epsilon or delta, not {value!r}" for value in wrong)


def _unfit(task: Task, output: OutputDecl) -> Iterator[str]:
    if task.placement == "server":
        yield "a task of several hosts is masked, not one of the server"
    if output.folder or output.artefact_for or output.content is None or output.content.type != "json":
        yield "one JSON file with declared content is masked"
    if not output.statistics:
        yield "it declares no statistics, whose numbers are those that are masked"
    for statistic in output.statistics:
        if named := _without_sum(statistic):
            yield f"{named} of a {statistic.statistic} cannot be added up over hosts: leave it out"

    yield from (
        f"{path} would leave as it is: name it in a statistic, or say const or x-from" for path in _bare(output)
    )


def masked_places(output: OutputDecl) -> frozenset[str]:
    """Where the numbers stand that are masked, in the words of ``statistics`` (``groups[].n``)."""
    return frozenset(
        f"{statistic.at}.{name}".lstrip(".")
        for statistic in output.statistics
        for name in (*statistic.person_counts, *statistic.estimates)
    )


def _bare(output: OutputDecl) -> list[str]:
    """Places of numbers and of other values that a tool may choose, and that no mask is on."""
    if output.content is None or output.content.json_schema is None:
        return []
    masked, leaves = masked_places(output), leaves_of(output.content.json_schema)
    found = [leaf.shown for leaf in leaves if leaf.path not in masked and not _is_known(leaf.node)]
    return list(dict.fromkeys(found)) if leaves else ["what its json_schema leaves open"]


def _is_known(node: Mapping[str, Any]) -> bool:
    """Whether the value is known before the tool runs, or is one of a few declared words."""
    if "enum" in node:
        return not any(isinstance(value, int | float) and not isinstance(value, bool) for value in node["enum"])
    return bool(_KNOWN_BEFORE & node.keys()) or node.get("type") == "null"


def _without_sum(statistic: StatisticDecl) -> str:
    """Fields that do not follow from sums over hosts."""
    fields = (statistic.variance, statistic.standard_deviation, statistic.quantile, *statistic.rates)
    alone = statistic.sum_of_squares if statistic.mean is None else None
    return ", ".join(name for name in (*fields, alone) if name)


def _sums(schema: Mapping[str, Any]) -> Iterator[tuple[str, tuple[str, ...]]]:
    for key, names in _keyword(schema, SUMS):
        yield key, tuple(map(str, names)) if isinstance(names, list) else ()


def _keyword(schema: Mapping[str, Any], keyword: str) -> Iterator[tuple[str, Any]]:
    described = schema.get("properties")
    for key, value in described.items() if isinstance(described, Mapping) else ():
        if isinstance(value, Mapping) and keyword in value:
            yield key, value[keyword]

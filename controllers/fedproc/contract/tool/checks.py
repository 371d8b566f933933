"""What must hold between the parts of a manifest, beyond each part's own shape."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from fedproc.common.text import did_you_mean
from fedproc.contract.ids import is_safe_path
from fedproc.contract.tool.placeholders import HOST_PLACEHOLDERS
from fedproc.contract.tool.task import Task


def inconsistencies(tasks: Sequence[Task], parameters: Iterable[str]) -> list[str]:
    """Every fault found, each naming task, key and cure; empty when there is none."""
    errors = [error for check in _CHECKS for error in check(tasks)]
    named = {f"parameter.{name}" for name in parameters}
    return errors + [error for task in tasks for error in (*_placeholders(task, named), *_traffic(task, named))]


def hints(tasks: Sequence[Task]) -> list[str]:
    """What a tool may do, and its provider will hardly mean."""
    undeclared = [
        f"task {task.name}: output {output.name} does not say what it holds ('content', 'statistics'): a person at each"
        " site looks at it before it leaves"
        for task in tasks
        for output in task.outputs
        if output.content is None
    ]
    unbounded = [
        f"task {task.name}: connection {connection.name} does not say how much goes over it ('traffic'): nothing but a"
        " site's own budget bounds it"
        for task in tasks
        for connection in task.connections
        if connection.traffic is None
    ]
    return (
        undeclared
        + unbounded
        + [
            f"task {task.name}: writes {{metrics}} and declares no 'metrics': none of them is shown to anybody"
            for task in tasks
            if "metrics" in task.placeholders() and not task.metrics
        ]
    )


def _names(tasks: Sequence[Task]) -> Iterator[str]:
    names = [task.name for task in tasks]
    yield from (f"task {name}: defined twice" for name in sorted({n for n in names if names.count(n) > 1}))
    for task in tasks:
        for kind, parts in (("port", task.ports), ("output", task.outputs), ("input", task.inputs),
                            ("connection", task.connections), ("metric", task.metrics)):  # fmt: skip
            seen = [part.name for part in parts]
            twice = sorted({name for name in seen if seen.count(name) > 1})
            yield from (f"task {task.name}: {kind} {name} defined twice" for name in twice)


def _references(tasks: Sequence[Task]) -> Iterator[str]:
    named = {task.name: task for task in tasks}
    for task in tasks:
        for need in task.needs:
            if need.task not in named or need.task == task.name:
                yield f"task {task.name}: needs task {need.task!r}, which is not another task of this tool"
            elif need.condition == "ready" and named[need.task].ready is None:
                yield f"task {task.name}: needs {need.task} ready, but {need.task} says no 'ready'"
        for connection in task.connections:
            peer = named.get(connection.task)
            if peer is None or connection.port not in {port.name for port in peer.ports}:
                yield (
                    f"task {task.name}: connection {connection.name} leads to port {connection.port!r} of task "
                    f"{connection.task!r}, which is not declared"
                )
            elif peer.placement != "server":
                yield f"task {task.name}: connection {connection.name}: only a server task can be connected to"


def _inputs(tasks: Sequence[Task]) -> Iterator[str]:
    named = {task.name: task for task in tasks}
    for task in tasks:
        waits_for = {need.task for need in task.needs if need.condition == "exited"}
        is_known = all(need.task in named for need in task.needs)  # else that is told, and may be what is meant
        for entry in task.inputs:
            if entry.kind == "output" and entry.task not in waits_for and is_known:
                yield f"task {task.name}: input {entry.name} takes outputs of {entry.task}: say that it needs it exited"
            source = named.get(entry.task or "")
            if source and entry.output and source.output(entry.output) is None:
                yield f"task {task.name}: input {entry.name}: task {entry.task} has no output {entry.output!r}"
            if entry.kind == "dataset" and task.placement == "server":
                yield f"task {task.name}: input {entry.name}: a server task has no datasets"


def _own_parts(tasks: Sequence[Task]) -> Iterator[str]:
    for task in tasks:
        if task.ready and task.ready.tcp and task.ready.tcp not in {port.name for port in task.ports}:
            yield f"task {task.name}: ready names port {task.ready.tcp!r}, which it does not declare"
        for path in (task.runtime.requirements, task.runtime.dockerfile, task.ready.file if task.ready else None):
            if path is not None and not is_safe_path(path):
                yield f"task {task.name}: {path!r} must be a relative path without . or .. segments"


def _placeholders(task: Task, parameters: set[str]) -> Iterator[str]:
    known = set(HOST_PLACEHOLDERS) | parameters
    known |= {f"port.{port.name}" for port in task.ports}
    known |= {f"connection.{c.name}.{part}" for c in task.connections for part in ("address", "host", "port")}
    for name in sorted(task.placeholders() - known):
        near = did_you_mean(name, known) or ";"
        yield (
            f"task {task.name}: placeholder {{{name}}} is unknown{near} known are {', '.join(sorted(known))}; to have "
            f"that text itself, write {{{{{name}}}}}"
        )


def _traffic(task: Task, parameters: set[str]) -> Iterator[str]:
    for connection in task.connections:
        rounds = connection.traffic.rounds if connection.traffic else None
        if rounds and rounds.parameter is not None and f"parameter.{rounds.parameter}" not in parameters:
            yield (
                f"task {task.name}: connection {connection.name}: traffic: rounds: there is no parameter"
                f" {rounds.parameter!r}"
            )


def _cycles(tasks: Sequence[Task]) -> Iterator[str]:
    needs = {task.name: {need.task for need in task.needs} for task in tasks}
    while free := {name for name, others in needs.items() if not others & needs.keys()}:
        for name in free:
            del needs[name]
    if needs:
        yield f"tasks {', '.join(sorted(needs))} wait for each other: break the circle of 'needs'"


_CHECKS: tuple[Callable[[Sequence[Task]], Iterator[str]], ...] = (_names, _references, _inputs, _own_parts, _cycles)

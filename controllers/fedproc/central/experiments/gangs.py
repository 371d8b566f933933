"""Gangs: the tasks of a tool that must run together, since they are connected or wait for each other to be ready."""

from __future__ import annotations

from fedproc.contract.tool.task import Condition, Task
from fedproc.contract.tool.tool import Tool


def partners(task: Task) -> set[str]:
    """The tasks that this one must run together with."""
    ready = {need.task for need in task.needs if need.condition is Condition.ready}
    return ready | {connection.task for connection in task.connections}


def groups(tool: Tool) -> list[list[Task]]:
    """The tasks, those of a gang together."""
    group = {task.name: {task.name} for task in tool.tasks}
    for task in tool.tasks:
        for other in partners(task):
            joined = group[task.name] | group[other]
            for name in joined:
                group[name] = joined
    seen: list[set[str]] = []
    for names in group.values():
        if names not in seen:
            seen.append(names)
    return [[task for task in tool.tasks if task.name in names] for names in seen]


def gang_tasks(tool: Tool) -> frozenset[str]:
    """Names of the tasks that are in a gang."""
    return frozenset(task.name for group in groups(tool) if len(group) > 1 for task in group)

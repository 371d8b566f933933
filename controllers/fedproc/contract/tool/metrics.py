"""Which numbers a running task may show: named in the manifest, so that who admits the tool knows what leaves by them.

A manifest carries them as the keyword ``x-metrics`` of its parameters' JSON Schema: readers of the release before pass
over a keyword that they do not know, and refuse such a key of a task.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from fedproc.contract.tool.description import Model

KEYWORD = "x-metrics"
MOST = 32
"""of one task"""

MetricName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_.-]{0,47}$")]


class MetricDecl(Model):
    """A key of the lines in ``{metrics}`` whose numbers are shown to the researcher while the task runs."""

    name: MetricName
    unit: str = Field("", pattern=r"^[^\x00-\x1f\x7f]{0,16}$", description="of the number, for people")


def from_parameters(tool: Any) -> Any:
    """A tool as it is written, each task with its metrics. Raises ValueError for metrics of no task."""
    schema, tasks = (tool.get("parameters"), tool.get("tasks")) if isinstance(tool, dict) else (None, None)
    if not isinstance(schema, dict) or KEYWORD not in schema or not isinstance(tasks, list):
        return tool
    declared, names = schema[KEYWORD], {_name(task) for task in tasks}
    if not isinstance(declared, dict) or not declared.keys() <= names:
        raise ValueError(f"parameters: {KEYWORD} names no tasks of this tool; write 'metrics' into its tasks instead")
    rest = {key: value for key, value in schema.items() if key != KEYWORD}
    return {**tool, "parameters": rest, "tasks": [_with_metrics(task, declared) for task in tasks]}


def _name(task: Any) -> str | None:
    name = task.get("name") if isinstance(task, dict) else None
    return name if isinstance(name, str) else None


def _with_metrics(task: Any, declared: Mapping[str, Any]) -> Any:
    name = _name(task)
    return task if name is None or name not in declared else {**task, "metrics": declared[name]}


def into_parameters(data: dict[str, Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The tool's ``data`` as it is sent: what its tasks declare is moved into its ``parameters``."""
    declared = {task["name"]: metrics for task in data.get("tasks", ()) if (metrics := task.pop("metrics", ()))}
    return data | {"parameters": {**parameters, KEYWORD: declared}} if declared else data

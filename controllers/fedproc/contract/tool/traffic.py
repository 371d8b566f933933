"""What a task sends over a connection: declared, so that who admits the tool knows how much, how often, and what.

A host counts bytes and rounds and cuts. It looks into messages of which ``sends`` says what they are, and into no
others (docs/security.md). A manifest carries these declarations as the keyword ``x-connections`` of its parameters'
JSON Schema: readers of the release before pass over a keyword that they do not know, and refuse such a key of a
connection.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from fedproc.contract.tool.description import Model
from fedproc.contract.tool.messages import MessageDecl
from fedproc.contract.tool.statistics import FieldName, StatisticClass

KEYWORD = "x-connections"
_KEY = "traffic"
_MB = 1_000_000


class RoundsDecl(Model):
    """How often the task may send something new: at the beginning, and after it has received something."""

    most: int = Field(ge=1, le=100_000, description="whatever the parameter says")
    parameter: str | None = Field(None, max_length=200, description="a whole number that bounds them further")
    beside: int = Field(0, ge=0, le=1000, description="rounds beside those of the parameter, as an introduction")

    def limit(self, parameters: Mapping[str, Any]) -> int:
        """For an experiment with these parameters."""
        asked = parameters.get(self.parameter) if self.parameter is not None else None
        if isinstance(asked, bool) or not isinstance(asked, int):
            return self.most
        return max(1, min(self.most, asked + self.beside))


class FieldDecl(Model):
    """A field of its messages, for people: no program looks at it."""

    name: FieldName
    statistic: StatisticClass | None = Field(None, description="what it says of persons; nothing unless given")
    description: str = Field("", max_length=200)


class TrafficDecl(Model):
    """The most that goes over one connection of one job. A site's policy may say less."""

    sends_mb: float = Field(gt=0, description="MB (10^6 bytes) from this task to its peer")
    receives_mb: float = Field(gt=0)
    rounds: RoundsDecl | None = Field(
        None, description="only where nothing but messages is sent: a protocol that talks by itself (gRPC) has none"
    )
    messages: tuple[FieldDecl, ...] = Field((), max_length=100, description="the fields that it sends, for people")
    sends: MessageDecl | None = Field(None, description="what each message is that it sends: all else is refused")

    @property
    def sends_bytes(self) -> int:
        return int(self.sends_mb * _MB)

    @property
    def receives_bytes(self) -> int:
        return int(self.receives_mb * _MB)


def from_parameters(tool: Any) -> Any:
    """A tool as it is written, each connection with its traffic. Raises ValueError for those of no connection."""
    schema, tasks = (tool.get("parameters"), tool.get("tasks")) if isinstance(tool, dict) else (None, None)
    if not isinstance(schema, dict) or KEYWORD not in schema or not isinstance(tasks, list):
        return tool
    declared = schema[KEYWORD]
    known = {_name(task): {_name(each) for each in _connections(task)} for task in tasks}
    if not isinstance(declared, dict) or not all(
        isinstance(each, dict) and each.keys() <= known.get(task, set()) for task, each in declared.items()
    ):
        raise ValueError(f"parameters: {KEYWORD} names no connections of this tool; write 'traffic' into them instead")
    rest = {key: value for key, value in schema.items() if key != KEYWORD}
    return {**tool, "parameters": rest, "tasks": [_with_traffic(task, declared) for task in tasks]}


def _name(part: Any) -> str | None:
    name = part.get("name") if isinstance(part, dict) else None
    return name if isinstance(name, str) else None


def _connections(task: Any) -> list[Any]:
    found = task.get("connections") if isinstance(task, dict) else None
    return list(found) if isinstance(found, list | tuple) else []


def _with_traffic(task: Any, declared: Mapping[str, Mapping[str, Any]]) -> Any:
    mine = declared.get(_name(task) or "")
    if mine is None:
        return task
    found = [(_name(each) or "", each) for each in _connections(task)]
    made = [{**each, _KEY: mine[name]} if name in mine else each for name, each in found]
    return {**task, "connections": made}


def into_parameters(data: dict[str, Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The tool's ``data`` as it is sent: what its connections declare is moved into its ``parameters``."""
    declared: dict[str, Any] = {}
    for task in data.get("tasks", ()):
        taken = {each["name"]: found for each in task.get("connections", ()) if (found := each.pop(_KEY, None))}
        declared |= {task["name"]: taken} if taken else {}
    return data | {"parameters": {**parameters, KEYWORD: declared}} if declared else data

"""``/tools``: the catalogue as users see it."""

from __future__ import annotations

from typing import Any

from pydantic import AwareDatetime, Field

from fedproc.contract.api.base import Line, Request, View, shown
from fedproc.contract.ids import ToolId
from fedproc.contract.tool.task import Condition, Placement, Resources, TaskKind


class TaskView(View):
    """A task template: all that is needed to build the command at a site (D6.1 ``GET /tools/tasks``)."""

    tool: ToolId
    version: str
    name: str
    description: str = ""
    placement: Placement
    kind: TaskKind
    command: list[str]
    prepare: list[list[str]] = []
    environment: dict[str, str] = {}
    placeholders: dict[str, str] = Field({}, description="what the host fills in for each")
    parameters: dict[str, Any] = Field({}, description="JSON Schema")
    resources: Resources
    runtime: dict[str, Any]
    needs: list[dict[str, Condition | str]] = []
    inputs: list[dict[str, Any]] = []
    outputs: list[dict[str, Any]] = []
    metrics: list[dict[str, Any]] = Field([], description="numbers that it shows while it runs; nothing else leaves so")
    ports: list[dict[str, Any]] = []
    connections: list[dict[str, Any]] = []


class ToolSummary(View):
    id: ToolId
    version: str
    digest: str
    name: str
    description: str
    mode: str
    href: str


class RecalledVersion(View):
    version: str
    digest: str
    at: AwareDatetime
    reason: str


class ToolRecall(Request):
    """``POST /tools/{tool_id}/recall`` by an operator; researchers and hosts are shown the reason."""

    model_config = shown({"version": "1.0.0", "reason": "it wrote dates of birth into its result"})

    version: str = Field(min_length=1, max_length=64)
    reason: Line = Field(min_length=1, max_length=500)


class ToolRecalled(View):
    """What a recall has done."""

    tool: ToolId
    recalled: RecalledVersion
    experiments: int = Field(description="that were open, and are told to end")


class ToolView(ToolSummary):
    """``GET /tools/{tool_id}``: the whole entry, with links to its tasks."""

    versions: list[str]
    recalled: list[RecalledVersion] = Field([], description="versions that were recalled: nobody starts them any more")
    parameters: dict[str, Any]
    on_host_lost: dict[str, Any]
    biotools: dict[str, Any]
    survey: dict[str, Any]
    tasks: list[dict[str, str]] = Field(description="name and href of each task template")

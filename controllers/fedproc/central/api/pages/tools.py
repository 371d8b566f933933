"""Tools: what is approved, what each needs, and what leaves a host by it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Query, Request
from starlette.responses import Response

from fedproc.central.api.pages.access import Api, pages
from fedproc.central.api.pages.choices import admits
from fedproc.central.api.pages.rendering import page, segment
from fedproc.contract.api.hosts import HostView
from fedproc.contract.api.tools import TaskView, ToolSummary, ToolView
from fedproc.contract.tool.values import expected, shown_example

routes = pages()


@routes.get("/dashboard/tools")
async def show_tools(request: Request, api: Api, text: Annotated[str, Query(max_length=100)] = "") -> Response:
    """The newest version of each that fits."""
    everything = await api.many(ToolSummary, "/tools")
    fitting = [tool for tool in everything if _fits(tool, text)]
    return page(request, "tools.html", {"tools": fitting, "total": len(everything), "text": text})


def _fits(tool: ToolSummary, text: str) -> bool:
    place = f"{tool.id} {tool.name} {tool.description} {tool.mode}".lower()
    return all(word in place for word in text.lower().split())


@routes.get("/dashboard/tools/{tool}")
async def show_tool(
    request: Request, tool: str, api: Api, version: Annotated[str, Query(max_length=64)] = ""
) -> Response:
    """One version with its tasks, and the hosts whose sites admit it."""
    found = await api.one(ToolView, f"/tools/{segment(tool)}", version=version)
    hosts = await api.many(HostView, "/hosts/")
    values = {
        "tool": found,
        "tasks": await api.many(TaskView, "/tools/tasks", tool=found.id, version=found.version),
        "admitting": [host.id for host in hosts if admits(host, found)],
        "parameters": described(found.parameters),
    }
    return page(request, "tool.html", values)


def described(schema: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each parameter in words: what it is, what is valid, an example."""
    return [
        {
            "name": name,
            "description": each.get("description", ""),
            "expected": expected(each, schema),
            "default": each.get("default"),
            "example": shown_example(each, schema),
            "required": name in schema.get("required", ()),
            "by_host": each.get("x-scope") == "host",
        }
        for name, each in schema.get("properties", {}).items()
        if isinstance(each, Mapping)
    ]

"""Tools as small as they can be, for tests of what the centre decides."""

from __future__ import annotations

from typing import Any

from fedproc.contract.tool.tool import Tool

_SURVEY = {
    "name": "sample", "contributor": "tests", "involvement": "developer", "segment": "analytical software",
    "licence": "Apache-2.0", "open_source": True, "free_software": True, "maturity_level": 5,
    "data_security": "security-by-default", "sensitive_data": True, "dpia_up_to_date": False,
    "technical_requirements": {"cpu": "little"}, "internet_access": False, "running_mode": "batch",
    "input_required": "a table", "output_provided": "a number",
}  # fmt: skip


def task(name: str, placement: str = "client", **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "placement": placement,
        "runtime": {"requirements": "requirements.txt"},
        "command": ["{python}", "{source}/run.py"],
        "resources": {"run_seconds": 100},
        **more,
    }


def tool(name: str, *tasks: dict[str, Any], **more: Any) -> Tool:
    return Tool.model_validate(
        {
            "id": name,
            "version": "1.0.0",
            "mode": "federated",
            "biotools": {"name": name, "description": "A tool of the tests.", "homepage": "https://example.org/"},
            "survey": _SURVEY,
            "tasks": list(tasks),
            **more,
        }
    )


def need(other: str, condition: str) -> dict[str, str]:
    return {"task": other, "condition": condition}


COUNTS = {"name": "counts", "path": "counts.json", "disclosure": "aggregate"}
KIT = {"name": "kit", "path": "kit.zip", "disclosure": "public", "artefact_for": ["client"]}
PORT = {"name": "grpc", "port": 8080}
DIAL = {"name": "server", "task": "server", "port": "grpc"}

LONE = tool("lone", task("work", "worker"))
"""One job per chosen host, none needs another."""

CHAIN = tool(
    "chain",
    task("local", outputs=[COUNTS]),
    task(
        "total",
        "server",
        needs=[need("local", "exited")],
        inputs=[{"name": "counts", "kind": "output", "task": "local", "output": "counts"}],
    ),
)
"""The aggregator adds up what the hosts found."""

GANG = tool(
    "gang",
    task("server", "server", kind="service", ports=[PORT], ready={"tcp": "grpc"}, outputs=[KIT]),
    task("client", "worker", needs=[need("server", "ready")], connections=[DIAL]),
)
"""A server that the hosts' jobs are connected to; it is ended when they have."""

WATCHED = tool("watched", task("watch", "server", kind="service"), task("work", "worker"))
"""A service that nothing is connected to, beside the work."""

SENT = tool("sent", task("work", "worker", inputs=[{"name": "table", "kind": "upload"}]))
"""Waits for a file of its user."""

EVERY = (LONE, CHAIN, GANG, WATCHED, SENT)

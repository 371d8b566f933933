"""Outputs that declare what they hold, and what the rules have against given bytes of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fedproc.contract.tool.declared import problems_of
from fedproc.contract.tool.task import OutputDecl
from fedproc.site.policy.engine.engine import inspect
from fedproc.site.policy.engine.findings import Finding
from fedproc.site.policy.engine.known import Known

COUNT = {"type": ["integer", "null"]}
NUMBER = {"type": ["number", "null"]}
PATIENTS = [{"age": 50 + n, "time": 100.5 + n} for n in range(12)]
"""rows as no site lets them leave"""


def closed(**properties: Any) -> dict[str, Any]:
    """An object of these fields, and of no others."""
    return {"type": "object", "additionalProperties": False, "properties": properties}


def entries(**properties: Any) -> dict[str, Any]:
    """A list of such objects."""
    return {"type": "array", "maxItems": 5000, "items": closed(**properties)}


def json_output(schema: dict[str, Any], *statistics: dict[str, Any], **more: Any) -> OutputDecl:
    """A file ``t.json``."""
    content = {"type": "json", "json_schema": schema}
    return output(content, *statistics, **more)


def csv_output(columns: list[dict[str, Any]], *statistics: dict[str, Any], **more: Any) -> OutputDecl:
    return output({"type": "csv", "columns": columns}, *statistics, path="t.csv", **more)


def output(content: dict[str, Any] | None, *statistics: dict[str, Any], **more: Any) -> OutputDecl:
    values = {"name": "table", "path": "t.json", "disclosure": "aggregate", "content": content}
    return OutputDecl.model_validate(values | {"statistics": list(statistics)} | more)


def against(declared: OutputDecl, tmp_path: Path, written: Any, *, floor: int = 10, known: Known | None = None,
            name: str | None = None) -> list[tuple[str, str]]:  # fmt: skip
    """Rule and result of each finding; ``written`` are bytes, a table's text, or what is put down as JSON."""
    found = findings(declared, tmp_path, written, floor=floor, known=known, name=name)
    return [(each.rule.id, str(each.result)) for each in found]


def findings(declared: OutputDecl, tmp_path: Path, written: Any, *, floor: int = 10, known: Known | None = None,
             name: str | None = None) -> list[Finding]:  # fmt: skip
    """The same with their texts."""
    assert problems_of(declared) == ()
    raw = (
        written
        if isinstance(written, bytes)
        else (written if isinstance(written, str) else json.dumps(written)).encode()
    )
    path = tmp_path / "sealed" / (name or declared.path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(raw)
    found = inspect(declared, tmp_path / "sealed", floor, known or Known())
    path.unlink()
    return found

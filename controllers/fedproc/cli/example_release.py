"""What ``fedproc catalog check`` says of a tool's example outputs: would they leave a site, and if not, why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fedproc.cli.show import table
from fedproc.contract.tool.tool import Manifest

_TEXTS = {
    "pass": "leaves by itself",
    "review": "waits for a person",
    "refuse": "never leaves",
}


def release_of(manifest: Manifest, folder: Path) -> list[dict[str, Any]]:
    """One entry for each output: task, output, result (None without an example), and the findings."""
    from fedproc.site.policy.examples import examples_of

    return [
        {
            "task": each.task,
            "output": each.output.name,
            "result": None if each.findings is None else str(each.result),
            "findings": [finding.as_fields() for finding in each.findings or ()],
        }
        for each in examples_of(manifest.tool, folder)
    ]


def show_release(findings: dict[str, list[dict[str, Any]]]) -> None:
    """The same as a table, one line for each finding."""
    rows = [row for tool, entries in findings.items() for entry in entries for row in _rows(tool, entry)]
    if rows:
        table(("tool", "output", "at a site with the default policy", "rule", "because"), rows, none="")


def _rows(tool: str, entry: dict[str, Any]) -> list[tuple[str, ...]]:
    place = f"{entry['task']}.{entry['output']}"
    if entry["result"] is None:
        return [(tool, place, "", "", "no example: put one at test/example_output/" + entry["task"])]
    if not entry["findings"]:
        return [(tool, place, _TEXTS["pass"], "", "")]
    return [
        (tool, place, _TEXTS[found["result"]], f"{found['rule']} v{found['version']}", found["found"])
        for found in entry["findings"]
    ]

"""What ``fedproc catalog check`` says of a tool's example outputs: would they leave a site, and if not, why."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fedproc.cli.show import table
from fedproc.contract.tool.tool import Manifest

NOT_TRIED = 3
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


def show_release(findings: Sequence[tuple[str, list[dict[str, Any]]]]) -> None:
    """The same as a table, one line for each output: what becomes of it, and all that leads to that."""
    rows = [_row(tool, entry) for tool, entries in findings for entry in entries]
    if rows:
        table(("tool", "output", "at a site with the default policy", "because"), rows, none="")


def exit_code(findings: Sequence[tuple[str, list[dict[str, Any]]]], *, is_untried: bool) -> int:
    """1 if an output never leaves, else 3 if something ``is_untried`` or an output has no example to try."""
    results = {entry["result"] for _, entries in findings for entry in entries}
    return 1 if "refuse" in results else NOT_TRIED if is_untried or None in results else 0


def _row(tool: str, entry: dict[str, Any]) -> tuple[str, ...]:
    place = f"{entry['task']}.{entry['output']}"
    if entry["result"] is None:
        return tool, place, "could not be tried", "no example of it: put one into test/example_output/" + entry["task"]
    reasons = [found for found in entry["findings"] if found["result"] == entry["result"]]
    because = "; ".join(f"{found['found']} ({found['rule']} v{found['version']})" for found in reasons)
    return tool, place, _TEXTS[entry["result"]], because

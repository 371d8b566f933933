"""Whether outputs may leave: the disclosure check and the site's decision (DESIGN.md, "Release").

What is looked at is the sealed copy; the decision names its hashes, and the upload sends those bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedproc.contract.tool.task import OutputDecl, Task
from fedproc.site.policy.rules import Policy, ToolRule


@dataclass(frozen=True)
class Finding:
    """Something about a sealed output that keeps it from leaving by itself."""

    output: str
    text: str
    forbids: bool = False
    """no person at the site may release it either, unless the policy is changed"""


def findings(policy: Policy, rule: ToolRule, task: Task, sealed: Path) -> list[Finding]:
    """Everything that the site's policy has against these outputs leaving; blocks, call it in a thread."""
    found = []
    for output in task.outputs:
        if not (sealed / output.name).exists():
            continue
        how = policy.release_of(rule, output)
        if how == "never":
            text = f"outputs of class {output.disclosure} never leave this site"
            found.append(Finding(output.name, text, forbids=True))
        elif how == "manual":
            found.append(Finding(output.name, f"outputs of class {output.disclosure} wait for a person's release"))
        found += [Finding(output.name, text) for text in _small_counts(policy.minimum_count, output, sealed)]
    return found


def _small_counts(minimum: int, output: OutputDecl, sealed: Path) -> Iterator[str]:
    if not output.min_count_fields or minimum == 0:
        return
    for path in sorted((sealed / output.name).rglob("*")):
        if not path.is_file():
            continue
        try:
            content = json.loads(path.read_bytes())
        except ValueError:
            yield f"{path.name} is not JSON, so its counts cannot be checked"
            continue
        small = [name for name, value in _numbers(content, set(output.min_count_fields)) if 0 < value < minimum]
        if small:
            yield f"{path.name}: {len(small)} counts below {minimum} in {', '.join(sorted(set(small)))}"


def _numbers(content: Any, fields: set[str], under: str | None = None) -> Iterator[tuple[str, float]]:
    if isinstance(content, dict):
        for key, value in content.items():
            yield from _numbers(value, fields, key if key in fields else under)
    elif isinstance(content, list):
        for value in content:
            yield from _numbers(value, fields, under)
    elif under is not None and isinstance(content, int | float) and not isinstance(content, bool):
        yield under, content

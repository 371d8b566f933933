"""Whether outputs may leave: the disclosure check and the site's decision (docs/tools.md, "What leaves").

What is looked at is the sealed copy; the decision names its hashes, and the upload sends those bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedproc.common.tasks import StopFlag
from fedproc.contract.tool.task import OutputDecl, Task
from fedproc.site.policy.rules import Terms


@dataclass(frozen=True)
class Finding:
    """Something about a sealed output that keeps it from leaving by itself."""

    output: str
    text: str
    """goes to the researcher, too: no count, and no name that the tool chose while it ran"""
    refusal: str | None = None
    """the code with which the job is refused, as nobody at the site may release it unless the policy is changed"""


def findings(terms: Terms, task: Task, sealed: Path, flag: StopFlag | None = None) -> list[Finding]:
    """Everything that the site's policy has against these outputs leaving; blocks, call it in a thread.

    Raises StoppedError between two files once ``flag`` is set.
    """
    flag = flag or StopFlag()
    present = [output for output in task.outputs if (sealed / output.name).exists()]
    return [
        finding
        for output in present
        for finding in (*_of_class(terms, output), *_of_counts(terms.minimum_count, output, sealed, flag))
    ]


def _of_class(terms: Terms, output: OutputDecl) -> Iterator[Finding]:
    how = terms.of(output.name)
    if how == "never":
        text = f"outputs of class {output.disclosure} never leave this site"
        yield Finding(output.name, text, refusal="release.forbidden")
    elif how == "manual":
        yield Finding(output.name, f"outputs of class {output.disclosure} wait for a person's release")


def _of_counts(minimum: int, output: OutputDecl, sealed: Path, flag: StopFlag) -> Iterator[Finding]:
    if not output.min_count_fields or minimum == 0:
        return
    small: set[str] = set()
    unread = False
    for path in sorted((sealed / output.name).rglob("*")):
        flag.check()
        if not path.is_file():
            continue
        try:
            numbers = list(_numbers(_strictly(path.read_bytes()), set(output.min_count_fields)))
        except (ValueError, RecursionError):
            unread = True
        else:
            small |= {name for name, value in numbers if 0 < value < minimum}
    if unread:
        yield Finding(output.name, "is not strict JSON, so that its counts of persons cannot be checked")
    if small:
        text = f"holds counts of persons from 1 to below {minimum} in {', '.join(sorted(small))}"
        yield Finding(output.name, f"{text}; suppress or join small groups", refusal="release.small_count")


def _strictly(content: bytes) -> Any:
    """Raises ValueError where two readers could read two things: a key that is there twice, NaN."""
    return json.loads(content, object_pairs_hook=_each_once, parse_constant=_no_number)


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is there twice")
    return found


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def _numbers(content: Any, fields: set[str], under: str | None = None) -> Iterator[tuple[str, float]]:
    if isinstance(content, dict):
        for key, value in content.items():
            yield from _numbers(value, fields, key if key in fields else under)
    elif isinstance(content, list):
        for value in content:
            yield from _numbers(value, fields, under)
    elif under is not None and isinstance(content, int | float) and not isinstance(content, bool):
        yield under, content
    elif under is not None and isinstance(content, str):
        with suppress(ValueError):
            yield under, float(content)

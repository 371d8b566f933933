"""What a check says, and how checks are run so that one that breaks is itself a finding."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LONGEST = 80


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. ``expected`` is None where anything is right and only told."""

    check: str
    expected: str | None
    found: str
    ok: bool = True


@dataclass(frozen=True)
class Job:
    """What this job knows of itself: its id, its folders, and the addresses that it shall try to reach."""

    id: str
    input: Path
    work: Path
    probe_addresses: tuple[str, ...] = ()


Check = Callable[[Job], Iterable[Finding]]


def run(checks: Iterable[Check], job: Job) -> Iterator[Finding]:
    """All findings of all checks; a check that raises OSError or ValueError becomes a finding that is not ok."""
    for check in checks:
        try:
            yield from check(job)
        except (OSError, ValueError) as fault:
            yield Finding(check.__name__, "the check can be made", f"{type(fault).__name__}: {fault}", ok=False)


def short(value: Any) -> Any:
    """A text as tool.yaml declares them: printable ASCII, of at most :data:`LONGEST` characters; all else as it is."""
    if not isinstance(value, str):
        return value
    text = "".join(letter if " " <= letter <= "~" else "?" for letter in value)
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."


def told(check: str, found: str) -> Finding:
    """A finding that is only told."""
    return Finding(check, None, found)


def listed(names: Iterable[str], none: str = "none", most: int = 20) -> str:
    """Names as one line of text, cut off after ``most``."""
    every = list(names)
    more = f" and {len(every) - most} more" if len(every) > most else ""
    return ", ".join(every[:most]) + more if every else none

"""Main memory: what the kernel manages, a limit on this process, and the board below."""

from __future__ import annotations

import re
from pathlib import Path

from fedproc.onboarding.model.facts import MemoryFacts
from fedproc.onboarding.probes import cgroup, dmi

MEMINFO = Path("/proc/meminfo")


def probe(meminfo: Path = MEMINFO) -> MemoryFacts:
    """Raises :class:`OSError` or :class:`ValueError` where ``/proc/meminfo`` does not tell."""
    text = meminfo.read_text()
    total = _kilobytes(text, "MemTotal") * 1024
    limit = cgroup.memory_limit()
    board = dmi.board()
    return MemoryFacts(
        total_bytes=total,
        available_bytes=_kilobytes(text, "MemAvailable") * 1024,
        limit_bytes=limit if limit is not None and limit < total else None,
        slots=board.slots,
        ecc=board.ecc,
        board_reason=board.reason,
    )


def _kilobytes(text: str, name: str) -> int:
    found = re.search(rf"^{name}: +(\d+) kB$", text, re.MULTILINE)
    if not found:
        raise ValueError(f"/proc/meminfo has no {name}")
    return int(found[1])

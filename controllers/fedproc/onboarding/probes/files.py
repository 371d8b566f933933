"""Reading the kernel's small files, where a missing file is an answer and not a fault."""

from __future__ import annotations

from pathlib import Path


def text(path: Path) -> str | None:
    """The stripped content, or ``None`` where there is no such file or it may not be read."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return None


def number(path: Path) -> int | None:
    """The whole number in the file; ``None`` where there is none."""
    content = text(path)
    return int(content) if content and content.lstrip("-").isdigit() else None

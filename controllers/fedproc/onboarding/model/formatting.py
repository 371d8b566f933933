"""Sizes and versions as text, and how they are compared with what a profile asks."""

from __future__ import annotations

from datetime import UTC, datetime

GB, GIB = 10**9, 2**30


def gib(size: int) -> str:
    """Memory, as its makers count it: 2^30 bytes."""
    return f"{size / GIB:.1f} GiB"


def gb(size: int) -> str:
    """Disks, as their makers count them: 10^9 bytes."""
    return f"{size / GB:.1f} GB" if size < 100 * GB else f"{size / GB:.0f} GB"


def number(value: float) -> str:
    """Without a needless ``.0``."""
    return f"{value:g}"


def reaches(size: int, nominal: float, unit: int, tolerance: int) -> bool:
    """Whether ``size`` bytes are a nominal size of so many ``unit``, less ``tolerance`` percent."""
    return size * 100 >= nominal * unit * (100 - tolerance)


def version(text: str) -> tuple[int, ...] | None:
    """``535.104.05`` as numbers; ``None`` where ``text`` is not digits and dots."""
    parts = text.split(".")
    return tuple(int(part) for part in parts) if all(p.isascii() and p.isdigit() for p in parts) else None


def at_least(mine: str, asked: str) -> bool | None:
    """Whether version ``mine`` is ``asked`` or newer; ``None`` where either cannot be compared."""
    ours, theirs = version(mine), version(asked)
    return None if ours is None or theirs is None else ours >= theirs


def printable(text: str) -> str:
    """Without control characters: what a stranger's server or device says must not steer a terminal."""
    return "".join(c if c.isprintable() else "?" for c in text)


def when(text: str) -> str:
    """An ISO 8601 time as a person reads it, UTC; the text itself where it is none."""
    try:
        return f"{datetime.fromisoformat(text).astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    except ValueError:
        return text

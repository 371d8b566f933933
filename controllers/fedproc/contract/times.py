"""Moments: always aware, always UTC."""

from __future__ import annotations

from datetime import UTC, datetime


def now() -> datetime:
    """The present moment."""
    return datetime.now(UTC)


def moment(seconds: float) -> datetime:
    """The moment that is ``seconds`` after the beginning of 1970."""
    return datetime.fromtimestamp(seconds, UTC)


def moment_or_none(seconds: float | None) -> datetime | None:
    """The same of what somebody else wrote: None where it is none, or no moment between the years 1 and 9999."""
    try:
        return None if seconds is None else moment(seconds)
    except (ValueError, OverflowError, OSError):
        return None

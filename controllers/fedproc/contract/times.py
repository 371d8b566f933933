"""Moments: always aware, always UTC."""

from __future__ import annotations

from datetime import UTC, datetime


def now() -> datetime:
    """The present moment."""
    return datetime.now(UTC)


def moment(seconds: float) -> datetime:
    """The moment that is ``seconds`` after the beginning of 1970."""
    return datetime.fromtimestamp(seconds, UTC)

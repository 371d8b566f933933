"""How many random examples a test tries: all of them, a few where ``make unit`` is in a hurry, many in a campaign."""

from __future__ import annotations

import os
from typing import Any

from hypothesis import HealthCheck, settings

_FEW = 10


def examples(count: int, **more: Any) -> settings:
    """``FEDPROC_EXAMPLES_TIMES=50`` tries fifty times as many as usual, other ones each time."""
    if _times() > 1:
        more = {"suppress_health_check": list(HealthCheck), **more}
    return settings(max_examples=wanted(count), **more)


def wanted(count: int) -> int:
    few = os.environ.get("FEDPROC_FEW_EXAMPLES") == "yes"
    return min(max(5, count // 10), _FEW) if few else count * _times()


def _times() -> int:
    return int(os.environ.get("FEDPROC_EXAMPLES_TIMES", "1"))

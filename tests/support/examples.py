"""How many random examples a test tries: all of them, or a tenth where ``make unit`` is in a hurry."""

from __future__ import annotations

import os
from typing import Any

from hypothesis import settings


def examples(count: int, **more: Any) -> settings:
    few = os.environ.get("FEDPROC_FEW_EXAMPLES") == "yes"
    return settings(max_examples=max(5, count // 10) if few else count, **more)

"""YAML files, read once in a session, by the C library where PyYAML has it (ten times as fast)."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import yaml

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@cache
def read_yaml(path: Path) -> Any:
    """What the file says; it belongs to all, so nobody changes it."""
    return yaml.load(path.read_text(), Loader=_LOADER)

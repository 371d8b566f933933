"""The parameters of tool.yaml, read and checked at every task again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from patches.settings import BOUNDS, Settings, read_settings


@dataclass(frozen=True)
class Request(Settings):
    """How to train; seconds are wall-clock."""

    local_epochs: int = 2
    round_seconds: int = 300
    secure_aggregation: bool = False


def read_request(path: Path) -> Request:
    """The request in the parameters file; raises Fault naming the parameter that is wrong."""
    return read_settings(path, Request, BOUNDS | {"local_epochs": (1, 100), "round_seconds": (1, 3600)})

"""The parameters of tool.yaml, read and checked at every task again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from patches.settings import BOUNDS, Settings, read_settings


@dataclass(frozen=True)
class Request(Settings):
    """How to train: so many ``updates`` of ``batch`` patches a round; seconds are wall-clock."""

    batch: int = 32
    updates: int = 20
    task_seconds: int = 300

    @property
    def patience(self) -> float:
        """How long a host waits for its next task: the slowest host may have its own before it, and the server, too."""
        return self.join_seconds + 3 * self.task_seconds

    def as_json(self) -> dict[str, Any]:
        """What hosts must have been asked for alike."""
        names = ("size", "rounds", "updates", "batch", "learning_rate", "every", "min_persons", "seed")
        return {name: getattr(self, name) for name in names}


def read_request(path: Path) -> Request:
    """The request in the parameters file; raises Fault naming the parameter that is wrong."""
    return read_settings(path, Request, BOUNDS | {"rounds": (1, 100), "updates": (1, 1000), "task_seconds": (1, 3600)})

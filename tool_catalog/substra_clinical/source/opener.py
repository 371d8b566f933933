"""Substra's opener: what a compute plan's task gets of a site's data. The host has read and checked it before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import substratools

ROWS = "rows.npy"
"""the model's columns, and last the outcome"""


class Opener(substratools.Opener):
    """Columns and outcome of the only sample."""

    def get_data(self, folders: list[str]) -> tuple[Any, Any]:
        rows = np.load(Path(folders[0]) / ROWS, allow_pickle=False)
        return rows[:, :-1], rows[:, -1]

    def fake_data(self, n_samples: int | None = None) -> tuple[Any, Any]:
        raise NotImplementedError("no fake data: a task runs at the host that has the rows")

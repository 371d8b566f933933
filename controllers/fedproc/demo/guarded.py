"""The demo's guarded dataset: a cohort that only who has a grant may use (``fedproc.demo.negotiations`` knows who).

``lung-cohort`` are the 228 patients with advanced lung cancer of the North Central Cancer Treatment Group's trial as
lifelines has them (C.L. Loprinzi et al., J Clin Oncol 12 (1994) 601-607), all at one host. No network is used.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from fedproc.demo.data import YEAR

HOST = "FORTH"
NAME = "lung-cohort"
DATASET = f"{HOST}:{NAME}"
PARAMETERS: dict[str, Any] = {
    "time_grid": {"step": YEAR / 2, "end": 2 * YEAR},
    "variables": [{"name": "age", "edges": [50, 60, 70]}, {"name": "sex"}],
    "min_cell": 5,
}
"""What may be asked of it with ``cohort-statistics``."""

_COLUMNS: tuple[dict[str, Any], ...] = (
    {"name": "age", "type": "integer", "unit": "a", "description": "age"},
    {"name": "sex", "type": "category", "values": ["female", "male"], "description": "sex"},
    {"name": "time", "type": "number", "unit": "d", "description": "survival time"},
    {"name": "event", "type": "boolean", "description": "death (1), or alive when last seen (0)"},
)


def write_guarded(root: Path) -> None:
    """Make ``root/FORTH/lung-cohort``. Raises ImportError if the extra ``demo`` is not installed."""
    from lifelines.datasets import load_lung

    patients = load_lung()
    sexes = patients["sex"].map({1: "male", 2: "female"})
    columns = (patients["age"].astype(int), sexes, patients["time"].astype(float), patients["status"].astype(int))
    folder = root / HOST / NAME
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "cohort.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow([column["name"] for column in _COLUMNS])
        writer.writerows(zip(*(column.tolist() for column in columns), strict=True))
    (folder / "dataset.json").write_text(json.dumps(_description(), indent=1) + "\n", encoding="utf-8")


def _description() -> dict[str, Any]:
    return {
        "id": NAME,
        "version": "1.0.0",
        "description": f"Patients with advanced lung cancer at {HOST}: survival; only for those who have a grant",
        "source": "NCCTG lung cancer trial as shipped by lifelines",
        "tables": {"cohort": "cohort.csv"},
        "columns": list(_COLUMNS),
    }

"""The demonstrator's clinical tables: EUCAIM's, where they are at hand, or made-up ones with the columns of its model.

EUCAIM's have no licence and are in no repository of ours: ``z3_1.csv`` to ``z3_3.csv`` of UB, BSC and FORTH
(EUCAIM/demo_ml_data). The synthetic ones are nobody's, and say so.
"""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from fedproc.common.errors import InvalidInputError

FOLDER = "clinical"
ROWS = {"UB": 36, "BSC": 36, "FORTH": 37}
"""at each host, as the demonstrator's three sites have them"""
SYNTHETIC = "SYNTHETIC: made-up persons with the columns of the demonstrator's model"
GIVEN = "EUCAIM's clinical demonstrator table, given by DATA"
_COLUMNS: tuple[dict[str, Any], ...] = (
    {"name": "PM25", "type": "number", "description": "fine dust, logarithm to base 10"},
    {"name": "age", "type": "number", "unit": "a", "description": "age"},
    {"name": "sex", "type": "category", "values": ["female", "male"], "description": "sex"},
    {"name": "cbmi", "type": "number", "unit": "kg/m2", "description": "body mass index of a child"},
    {"name": "blood_pre", "type": "number", "unit": "mmHg", "description": "blood pressure"},
)
_SEED = 20_260


def write_synthetic(root: Path) -> None:
    """Make ``root/HOST/clinical`` for every host; the same call writes the same bytes."""
    for number, (host, rows) in enumerate(ROWS.items()):
        folder = root / host / FOLDER
        folder.mkdir(parents=True)
        columns = list(_COLUMNS)
        _describe(folder, {**_named(SYNTHETIC, host), "tables": {"cohort": "cohort.csv"}, "columns": columns})
        with (folder / "cohort.csv").open("w", encoding="utf-8", newline="") as stream:
            lines = csv.writer(stream, lineterminator="\n")
            lines.writerow([column["name"] for column in _COLUMNS])
            lines.writerows(_persons(rows, _SEED + number))


def _persons(rows: int, seed: int) -> Iterable[list[Any]]:
    """Persons like the demonstrator's in their ranges; one has no PM25."""
    import numpy as np

    chance = np.random.default_rng(seed)
    dust = chance.normal(1.16, 0.04, rows)
    age, weight = chance.normal(4.2, 0.15, rows), chance.normal(16.2, 1.6, rows)
    male = chance.permutation(np.arange(rows) % 2)
    pressure = 70 + 40 * dust + 0.5 * male + 0.05 * weight + chance.normal(0, 3.4, rows)
    for row in range(rows):
        sex = "male" if male[row] else "female"
        measured = "NA" if row == rows // 2 else f"{dust[row]:.4f}"
        yield [measured, f"{age[row]:.2f}", sex, f"{weight[row]:.2f}", f"{pressure[row]:.1f}"]


def write_given(source: Path, root: Path) -> None:
    """Make ``root/HOST/clinical`` of the files in ``source``, in the place of what is there.

    Each is described as ``fedproc data describe`` proposes. Raises :class:`InvalidInputError` if a file is missing.
    """
    from fedproc.site.data.describing.proposal import propose

    for file, host in _files(source):
        folder = root / host / FOLDER
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        shutil.copyfile(file, folder / file.name)
        _describe(folder, propose(folder).description | _named(GIVEN, host))


def check_given(source: Path) -> None:
    """Raise :class:`InvalidInputError` unless all three files are there."""
    for _ in _files(source):
        pass


def _files(source: Path) -> Iterator[tuple[Path, str]]:
    for number, host in enumerate(ROWS, 1):
        file = source / f"z3_{number}.csv"
        if not file.is_file():
            raise InvalidInputError(f"DATA={source}: there is no {file.name}; it wants z3_1.csv, z3_2.csv and z3_3.csv")
        yield file, host


def _named(what: str, host: str) -> dict[str, Any]:
    return {"id": FOLDER, "version": "1.0.0", "description": f"{what}, at {host}"}


def _describe(folder: Path, description: dict[str, Any]) -> None:
    text = json.dumps(description, indent=1, ensure_ascii=False) + "\n"
    (folder / "dataset.json").write_text(text, encoding="utf-8")

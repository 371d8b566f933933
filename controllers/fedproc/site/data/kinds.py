"""What a dataset's folder holds, as its host says it: ``images``, ``tables``, ``files``; never names or numbers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from fedproc.contract.wire.datasets import DatasetColumns
from fedproc.site.data.describing.table_files import ENDINGS
from fedproc.site.data.index import Known


def kinds_of(folder: Path, known: Known, columns: Sequence[DatasetColumns]) -> tuple[str, ...]:
    """``images`` if any file is DICOM; ``tables`` if their columns are told; ``files`` if something else may be there
    that a tool reads: no image and no table, or tables that are not described, or whose columns the site hides.

    Raises OSError. Blocks.
    """
    found = ["images"] if known.images else []
    if columns:
        found.append("tables")
    elif not known.images or (known.files > known.images and _may_have_tables(folder)):
        found.append("files")
    return tuple(found)


def _may_have_tables(folder: Path) -> bool:
    with os.scandir(folder) as entries:
        return any(Path(entry.name).suffix.lower() in ENDINGS for entry in entries)

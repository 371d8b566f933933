"""Folders in folders, deeper than the interpreter's recursion goes."""

from __future__ import annotations

import os
from pathlib import Path


def nested_folders(top: Path, depth: int) -> str:
    """Make so many, each in the one before; returns the innermost."""
    place = str(top)
    os.mkdir(place)  # noqa: PTH102 (text: a path of so many parts is slow)
    for _ in range(depth):
        place += "/a"
        os.mkdir(place)  # noqa: PTH102
    return place

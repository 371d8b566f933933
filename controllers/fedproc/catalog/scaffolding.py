"""A tool to begin with: the folder ``scaffold`` under another name, which passes every check as it is."""

from __future__ import annotations

import re
import shutil
from difflib import get_close_matches
from pathlib import Path

from fedproc.common.errors import ConflictError, InvalidInputError
from fedproc.contract.ids import NAME_PATTERN

EXAMPLE = Path(__file__).parent / "scaffold"
_ID, _TITLE = "row-count", "Row count"


def write_scaffold(name: str, below: Path) -> Path:
    """Write the tool ``name`` into a folder of this name, and return that.

    Raises :class:`InvalidInputError` for what is no id, :class:`ConflictError` where something is there.
    """
    if not re.fullmatch(NAME_PATTERN, name):
        plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
        near = f"; did you mean {plain}?" if get_close_matches(name.lower(), [plain], 1) else ""
        raise InvalidInputError(f"{name!r} is no id of a tool: one has small letters and digits, with - between{near}")
    folder = below / name
    if folder.exists():
        raise ConflictError(f"{folder} is there already: take another name, or another folder (--below)")
    below.mkdir(parents=True, exist_ok=True)
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    description = folder / "tool.yaml"
    text = description.read_text().replace(f"id: {_ID}\n", f"id: {name}\n", 1)
    description.write_text(text.replace(f"name: {_TITLE}\n", f"name: {name.replace('-', ' ').capitalize()}\n"))
    return folder

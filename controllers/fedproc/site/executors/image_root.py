"""An image as the folder that a sandbox takes for its root: how it lies on the disk, and what of it a job sees."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

DESCRIPTION = "image.json"
ROOT = "root"
OWN_PLACES = frozenset({"dev", "fedproc", "proc", "sys", "tmp"})
"""of a root, at its top: the sandbox makes these itself"""
_NOT_TAKEN_OVER = frozenset({"HOME", "USER", "LOGNAME", "TMPDIR"})


@dataclass(frozen=True)
class ImageRoot:
    """An unpacked image: its files below ``root``, legible to everybody, and its own variables."""

    root: Path
    environment: dict[str, str]


def image_root(runtime: str) -> ImageRoot | None:
    """The image unpacked at this place; None where it is an environment, or nothing. Blocks.

    Raises OSError or ValueError if what describes it cannot be read.
    """
    if not runtime:
        return None
    try:
        described = json.loads((Path(runtime) / DESCRIPTION).read_bytes())
    except FileNotFoundError:
        return None
    variables = {str(name): str(value) for name, value in described["environment"].items()}
    return ImageRoot(Path(runtime) / ROOT, {n: v for n, v in variables.items() if n not in _NOT_TAKEN_OVER})


def describe(folder: Path, environment: dict[str, str], size: int) -> None:
    """Write what :func:`image_root` reads: the last thing of an image that becomes whole. ``size`` in bytes."""
    (folder / DESCRIPTION).write_text(json.dumps({"environment": environment, "bytes": size}))

"""What is found in a model's file."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass, field
from math import prod
from typing import BinaryIO

Source = io.BufferedIOBase | io.BytesIO | BinaryIO
MOST_ARRAYS = 10_000
_MOST_DIMENSIONS = 64
_LARGEST = 1 << 48
_NAME = re.compile(r"[A-Za-z0-9_.:/-]{1,200}")


@dataclass
class Arrays:
    """``rows``: name, type and shape of each, as the file has them; ``notes``: whatever else is in the file.

    All may hold what the tool chose: who shows them escapes them.
    """

    rows: list[tuple[str, str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    texts: set[str] = field(default_factory=set)
    """the values of arrays of texts"""

    def note(self, text: str) -> None:
        self.notes.append(text)


def is_name(text: object) -> bool:
    """Whether it does as an array's name: letters, digits and few signs."""
    return isinstance(text, str) and _NAME.fullmatch(text) is not None


def elements_of(shape: object) -> int | None:
    """How many elements a shape has; None where it says more than that, as one without elements with further sizes."""
    if not isinstance(shape, list | tuple) or len(shape) > _MOST_DIMENSIONS:
        return None
    if any(isinstance(each, bool) or not isinstance(each, int) or not 0 <= each <= _LARGEST for each in shape):
        return None
    elements = prod(shape)
    return None if elements > _LARGEST or (elements == 0 and len(shape) > 1) else elements

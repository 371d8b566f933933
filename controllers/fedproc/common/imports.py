"""Parts of libraries that a program does without."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def without(*names: str) -> Iterator[None]:
    """Modules that are imported for the first time in this context find ``names`` not to be installed.

    Libraries that use others only where they are there then do without them, for good; nobody else sees a difference.
    """
    absent = [name for name in names if name not in sys.modules]
    modules: dict[str, Any] = sys.modules
    modules.update(dict.fromkeys(absent))  # None: it is not there, as importlib has it
    try:
        yield
    finally:
        for name in absent:
            modules.pop(name, None)

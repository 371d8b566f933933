"""What a fixture needs, told where it is made: whatever test uses it gets the markers (``tests/conftest.py``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import pytest

Function = TypeVar("Function", bound=Callable[..., object])


def needs(*markers: str) -> Callable[[Function], Function]:
    """Stands below ``@pytest.fixture``."""

    def told(function: Function) -> Function:
        function.needs = markers  # type: ignore[attr-defined]
        return function

    return told


def needs_of(item: pytest.Item) -> set[str]:
    """The markers of all fixtures that the test uses."""
    made_by = getattr(item, "_fixtureinfo", None)
    definitions = made_by.name2fixturedefs.values() if made_by else ()
    return {marker for last in definitions for marker in getattr(last[-1].func, "needs", ())}

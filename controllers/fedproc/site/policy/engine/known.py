"""Values that are known before a tool runs: what an output may repeat (``x-from``)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Source = Callable[[], Iterable[Any]]

STEPS = "steps"
"""the source whose values are the multiples of its numbers"""
_MULTIPLES = 1_000


@dataclass
class Known:
    """Texts and numbers by the source that a schema names; each source is asked when it is needed, and once."""

    sources: Mapping[str, Source] = field(default_factory=dict)
    _found: dict[str, frozenset[Any]] = field(default_factory=dict)

    def holds(self, names: Iterable[str], value: Any) -> bool:
        """Whether one of these sources has the value; 1 and 1.0 are the same number, and an empty text says nothing."""
        return value == "" or any(self._holds(name, value) for name in names)

    def values(self, name: str) -> frozenset[Any]:
        """All values of a source; of :data:`STEPS` the numbers of which each multiple is known."""
        if name not in self._found:
            self._found[name] = frozenset(self.sources[name]()) if name in self.sources else frozenset()
        return self._found[name]

    def choices(self, names: Iterable[str]) -> int:
        """How many values these sources have in all, so that one says no more than which of them it is."""
        return sum(len(self.values(name)) * (_MULTIPLES if name == STEPS else 1) for name in names)

    def _holds(self, name: str, value: Any) -> bool:
        values = self.values(name)
        return value in values if name != STEPS else _is_number(value) and _is_multiple(value, values)


def _is_multiple(value: float, of: Iterable[Any]) -> bool:
    """Whether it is on a grid that begins at 0."""
    return any(_is_number(step) and _is_on(value, float(step)) for step in of)


def _is_on(value: float, step: float) -> bool:
    if not step:
        return value == 0
    times = value / step
    return -0.5 < times < _MULTIPLES + 0.5 and step * round(times) == value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)

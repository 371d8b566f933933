"""Values that are known before a tool runs: what an output may repeat (``x-from``)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

Source = Callable[[], Iterable[Any]]


_MULTIPLES = 1_000


def multiples(values: Iterable[Any]) -> Iterator[float]:
    """Of each number, as a grid that begins at 0 has them."""
    for value in values:
        if isinstance(value, int | float) and not isinstance(value, bool):
            yield from (float(value) * n for n in range(_MULTIPLES + 1))


@dataclass
class Known:
    """Texts and numbers by the source that a schema names; each source is asked when it is needed, and once."""

    sources: Mapping[str, Source] = field(default_factory=dict)
    _found: dict[str, frozenset[Any]] = field(default_factory=dict)

    def holds(self, names: Iterable[str], value: Any) -> bool:
        """Whether one of these sources has the value; 1 and 1.0 are the same number, and an empty text says nothing."""
        return value == "" or any(value in self._of(name) for name in names)

    def _of(self, name: str) -> frozenset[Any]:
        if name not in self._found:
            self._found[name] = frozenset(self.sources[name]()) if name in self.sources else frozenset()
        return self._found[name]

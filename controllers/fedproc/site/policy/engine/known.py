"""Values that are known before a tool runs: what an output may repeat (``x-from``)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import log2
from typing import Any

from fedproc.contract.tool.columns import in_formula
from fedproc.site.policy.engine.model_terms import FORMS, MOST_FACTORS, is_term
from fedproc.site.policy.engine.strict_json import scalars

Source = Callable[[], Iterable[Any]]

STEPS = "steps"
"""the source whose values are the multiples of its numbers"""
TERMS = "terms"
"""the source whose values are the terms that follow from the two below"""
COLUMNS, CATEGORIES = "columns", "categories"
"""names that the parameters have, as they stand and as formulas name them; texts that may be categories of columns"""
_MULTIPLES = 1_000
_LONGEST = 80
"""characters of a text that is taken for a name of data elsewhere"""


@dataclass(frozen=True)
class Known:
    """Texts and numbers by the source that a schema names; each source is asked when it is needed, and once."""

    sources: Mapping[str, Source] = field(default_factory=dict)
    elsewhere: bool = False
    """the job has no datasets, and others of its experiment have some: their names are not all known here"""
    takes_names: bool = False
    """any short text is taken for a dataset's own, as far as what is ``elsewhere`` may have it"""
    _found: dict[str, frozenset[Any]] = field(default_factory=dict)

    def with_names(self) -> Known:
        """The same, with ``takes_names``."""
        return replace(self, takes_names=True)

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
        return sum(self._count(name) for name in names)

    def bits_of_term(self, text: str) -> float:
        """What a term says at the most: which of all that there could be."""
        return log2(max(1, self._count(TERMS))) * min(MOST_FACTORS, text.count(":") + 1)

    def _count(self, name: str) -> int:
        if name == TERMS:
            return len(self.values(COLUMNS)) * (FORMS + len(self.values(CATEGORIES)))
        return len(self.values(name)) * (_MULTIPLES if name == STEPS else 1)

    def _holds(self, name: str, value: Any) -> bool:
        if name == TERMS:
            return isinstance(value, str) and is_term(value, self._columns(), self._is_category)
        if name == STEPS:
            return _is_number(value) and _is_multiple(value, self.values(name))
        return value in self.values(name) or (name == "dataset" and self._may_be_name(value))

    def _columns(self) -> list[str]:
        return [name for name in self.values(COLUMNS) if isinstance(name, str)]

    def _is_category(self, text: str) -> bool:
        return text in self.values(CATEGORIES) or self._may_be_name(text)

    def _may_be_name(self, value: Any) -> bool:
        return self.elsewhere and self.takes_names and isinstance(value, str) and 0 < len(value) <= _LONGEST


def columns_of(parameters: Any) -> Iterator[str]:
    """Whatever in the parameters may be a column's name, also in a formula."""
    for text in scalars(parameters):
        if isinstance(text, str):
            yield from (text, *in_formula(text))


def needed_for(declared: str) -> frozenset[str]:
    """The sources that a declaration, as JSON, may ask for."""
    named = {name for name in ("parameters", STEPS, "dataset", "order", "inputs") if f'"{name}"' in declared}
    if '"model"' in declared:  # its arrays may name terms and columns
        return frozenset({"parameters", "dataset", "order", "inputs", COLUMNS, CATEGORIES})
    return frozenset(named | ({COLUMNS, CATEGORIES} if f'"{TERMS}"' in declared else set()))


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

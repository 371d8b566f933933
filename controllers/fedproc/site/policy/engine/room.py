"""How much a tool may say by what it chooses within its schema: categories, repeated values, flags, lengths of lists.

A list of 5000 objects of two enums and a small number is a table of patients, though each of its values was declared.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import log2
from typing import Any

from fedproc.contract.tool.closed_schema import Place, leaves_of
from fedproc.contract.tool.statistics import StatisticDecl
from fedproc.site.policy.engine.counts import TABLES
from fedproc.site.policy.engine.known import TERMS, Known

_STEP = re.compile(r"\.?[^.\[\]{} ]+|\[\]|\{\}| \(a key\)")


def chosen_bits(document: Any, schema: Any, statistics: Sequence[StatisticDecl], known: Known) -> float:
    """Bits that the values of this document may carry beside the numbers of its statistics and texts by patterns.

    The categories of a table of counts are not among them: each has its cell, and rules for what is in it.
    """
    return _Choices(leaves_of(schema), statistics, known).of(document, "")


class _Choices:
    """What there is to choose from at each place of a schema."""

    def __init__(self, leaves: Iterable[Place], statistics: Sequence[StatisticDecl], known: Known) -> None:
        accounted = {_path(each.at, name) for each in statistics for name in _accounted(each)}
        self._choices: dict[str, int] = defaultdict(int)
        self._below: dict[str, set[str]] = defaultdict(set)
        self._known, self._terms = known, set[str]()
        for place in leaves:
            self._terms |= {place.path} if TERMS in place.node.get("x-from", ()) else set()
            self._choices[place.path] += 1 if place.path in accounted else _choices(place.node, known)
            for outer, step in _steps(place.path):
                self._below[outer].add(step)

    def of(self, part: Any, path: str) -> float:
        if isinstance(part, Mapping):
            return self._of_object(part, path)
        if isinstance(part, list):
            return log2(len(part) + 1) + sum(self.of(each, f"{path}[]") for each in part)
        bits = log2(max(1, self._choices.get(path, 1)))
        return max(bits, self._known.bits_of_term(part)) if path in self._terms and isinstance(part, str) else bits

    def _of_object(self, part: Mapping[str, Any], path: str) -> float:
        declared = {step for step in self._below[path] if step not in ("[]", "{}", " (a key)")}
        named = {name: f"{path}.{name}".lstrip(".") for name in part if name in declared}
        others = part.keys() - named.keys()
        bits = float(len(declared)) if len(named) < len(declared) else 0.0
        bits += sum(self.of(part[name], inner) for name, inner in named.items())
        return bits + sum(self.of(name, f"{path} (a key)") + self.of(part[name], f"{path}{{}}") for name in others)


def _path(at: str, name: str) -> str:
    return f"{at}.{name}".lstrip(".")


def _accounted(statistic: StatisticDecl) -> tuple[str, ...]:
    numbers = (*statistic.person_counts, *statistic.estimates)
    return (*numbers, *statistic.dimensions) if statistic.statistic in TABLES else numbers


def _steps(path: str) -> Iterator[tuple[str, str]]:
    """Each place on the way to this one, with the step that leads on."""
    outer = ""
    for found in _STEP.finditer(path):
        yield outer, found[0].removeprefix(".")
        outer += found[0]


def _choices(node: Mapping[str, Any], known: Known) -> int:
    if "const" in node:
        return 1
    if "enum" in node:
        return len(node["enum"])
    if "x-from" in node:
        return known.choices(node["x-from"])
    if node.get("type") == "integer" and "minimum" in node and "maximum" in node:
        return int(node["maximum"] - node["minimum"]) + 1
    return 2 if node.get("type") == "boolean" else 1

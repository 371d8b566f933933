"""The objects of a document that a statistic is about."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fedproc.contract.tool.statistics import StatisticDecl

_STEP = re.compile(r"\[\]|\{\}|[^.\[\]{}]+")


@dataclass(frozen=True)
class Subject:
    """One object that a statistic is about: a cell, a step, a group, a model."""

    fields: Mapping[str, Any]
    around: tuple[Mapping[str, Any], ...]
    """the objects that it stands in, the innermost first"""
    siblings: int
    """which list (or object of any keys) it is an entry of; entries of one list have the same"""

    def enclosing(self, name: str) -> Any:
        """The field of that name in the innermost object around that has it, or None."""
        return next((each[name] for each in self.around if name in each), None)


def subjects(document: Any, path: str) -> Iterator[Subject]:
    """All objects at a path of :data:`~fedproc.contract.tool.statistics.FieldPath`."""
    yield from _at(document, _STEP.findall(path), (), 0)


def _at(node: Any, steps: Sequence[str], around: tuple[Mapping[str, Any], ...], siblings: int) -> Iterator[Subject]:
    if not steps:
        if isinstance(node, dict):
            yield Subject(node, around, siblings)
        return
    step, *rest = steps
    if step == "[]" and isinstance(node, list):
        for entry in node:
            yield from _at(entry, rest, around, id(node))
    elif step == "{}" and isinstance(node, dict):
        for entry in node.values():
            yield from _at(entry, rest, (node, *around), id(node))
    elif isinstance(node, dict) and step in node:
        yield from _at(node[step], rest, (node, *around), id(node) if not rest else siblings)


def concerns(statistic: StatisticDecl, fields: Mapping[str, Any]) -> bool:
    """Whether the object holds this statistic: one of its estimates, or, where it has none, a count."""
    return any(name in fields for name in statistic.estimates or statistic.person_counts)


def unaccounted(document: Any, statistics: Sequence[StatisticDecl]) -> bool:
    """Whether an object has a field of a statistic that none of those which it holds accounts for."""
    for path in {statistic.at for statistic in statistics}:
        here = [statistic for statistic in statistics if statistic.at == path]
        every = {name for statistic in here for name in statistic.fields()}
        for subject in subjects(document, path):
            held = {name for statistic in here if concerns(statistic, subject.fields) for name in statistic.fields()}
            if (every & subject.fields.keys()) - held:
                return True
    return False

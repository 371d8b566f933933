"""Where the descriptions of several datasets' columns differ: what keeps one question from meaning the same at each."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from fedproc.contract.wire.datasets import DatasetColumn

What = Literal["missing", "type", "unit", "categories"]
_SHOWN = 6


@dataclass(frozen=True)
class Difference:
    """One column of which the datasets say different things; ``found`` is what each says, by dataset."""

    column: str
    what: What
    found: Mapping[str, str]

    def line(self) -> str:
        """For a person: ``age: unit a at UB:cohort, mo at BSC:cohort``."""
        places: dict[str, list[str]] = {}
        for dataset, text in self.found.items():
            places.setdefault(text, []).append(dataset)
        what = "" if self.what == "missing" else f"{self.what} "
        return f"{self.column}: {what}" + ", ".join(f"{text} at {_named(at)}" for text, at in places.items())


def differences(
    datasets: Mapping[str, Sequence[DatasetColumn]], only: Collection[str] | None = None
) -> list[Difference]:
    """All, in the order in which columns are first named; of the columns ``only``, if that is given.

    A column that is missing at some is told as that alone. The order of categories does not count.
    """
    known = {dataset: {column.name: column for column in columns} for dataset, columns in datasets.items()}
    names = dict.fromkeys(name for columns in known.values() for name in columns)
    return [found for name in names if only is None or name in only for found in _of(name, known)]


def _of(name: str, known: Mapping[str, Mapping[str, DatasetColumn]]) -> Iterator[Difference]:
    columns = {dataset: found.get(name) for dataset, found in known.items()}
    there = {dataset: column for dataset, column in columns.items() if column is not None}
    if len(there) < len(columns):
        yield Difference(name, "missing", {each: "there" if column else "missing" for each, column in columns.items()})
        return
    if len({column.type for column in there.values()}) > 1:
        yield Difference(name, "type", {each: column.type for each, column in there.items()})
        return
    if len({column.unit for column in there.values()}) > 1:
        yield Difference(name, "unit", {each: column.unit or "none" for each, column in there.items()})
    if len({(frozenset(column.values), column.more_values) for column in there.values()}) > 1:
        common = frozenset.intersection(*(frozenset(column.values) for column in there.values()))
        yield Difference(name, "categories", {each: _values(column, common) for each, column in there.items()})


def _values(column: DatasetColumn, common: frozenset[str]) -> str:
    """Those that not all have, first: they are what one looks for."""
    own = [value for value in column.values if value not in common]
    rest = len(column.values) - len(own) + column.more_values
    shown = [*own[:_SHOWN], *([f"{len(own) - _SHOWN} more of its own"] if len(own) > _SHOWN else [])]
    return " / ".join([*shown, *([f"{rest} others" if own else f"only the {rest} others"] if rest else [])]) or "none"


def _named(datasets: Sequence[str]) -> str:
    more = len(datasets) - _SHOWN
    return ", ".join(datasets[:_SHOWN]) + (f" and {more} more" if more > 0 else "")

"""The rules on tables of counts: cells, their totals, hidden cells, groups of which all share one thing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations, product
from math import prod
from typing import Any

from fedproc.contract.tool.statistics import StatisticClass, StatisticDecl
from fedproc.site.policy.engine import disclosure_rules as rules
from fedproc.site.policy.engine.counts import Against, count_of, refused, to_review
from fedproc.site.policy.engine.margins import Answer, Equation, solve
from fedproc.site.policy.engine.objects import Subject

_MOST_DIMENSIONS, _MOST_CELLS = 4, 5_000

Cell = frozenset[tuple[str, Any]]
"""Its place in a table: the category in each dimension, without those over which it is a total."""

_ALL: Cell = frozenset()


@dataclass
class Table:
    """The cells of one table, by place; None is a hidden count."""

    statistic: StatisticDecl
    name: Hashable
    cells: dict[Cell, int | None] = field(default_factory=dict)
    total: int | None = None
    around: frozenset[int] = frozenset()
    """further counts of persons of the objects around it"""
    objects: set[int] = field(default_factory=set)
    """by identity: its cells, and the objects around that say its total"""

    @property
    def dimensions(self) -> tuple[str, ...]:
        return self.statistic.dimensions or ("",)

    def inner(self) -> list[Cell]:
        """The cells that are no totals."""
        return [cell for cell in self.cells if len(cell) == len(self.dimensions)]

    def lines(self) -> Iterator[tuple[Cell, tuple[Cell, ...]]]:
        """Each total, published or not, with the cells that it adds up along one dimension."""
        levels = {name: self.levels(name) for name in self.dimensions}
        for whole in self._totals():
            for name in sorted(set(self.dimensions) - {name for name, _ in whole}):
                yield whole, tuple(whole | {(name, level)} for level in levels[name])

    def sums(self) -> Iterator[tuple[Cell, tuple[Cell, ...]]]:
        """Each total, published or not, with all the inner cells that it adds up."""
        levels = {name: [(name, level) for level in self.levels(name)] for name in self.dimensions}
        for whole in self._totals():
            known = {name for name, _ in whole}
            added = product(*(levels[name] for name in self.dimensions if name not in known))
            yield whole, tuple(whole | set(more) for more in added)

    def levels(self, dimension: str) -> list[Any]:
        """The categories of a dimension, in their order."""
        return list(dict.fromkeys(level for cell in self.cells for name, level in cell if name == dimension))

    def _totals(self) -> Iterable[Cell]:
        parts = range(len(self.dimensions))
        return dict.fromkeys(
            frozenset(kept)
            for cell in self.cells
            for size in parts
            for kept in combinations(sorted(cell, key=str), size)
        )

    def hidden(self) -> set[Cell]:
        """The cells whose count is not published: those that say so, and those that are not there."""
        every = {part for _, parts in self.lines() for part in parts if len(part) == len(self.dimensions)}
        return {cell for cell in (*self.cells, *every) if self.value(cell) is None}

    def value(self, cell: Cell) -> int | None:
        """The count; the total that is named beside the table is that of its empty place."""
        found = self.cells.get(cell)
        return self.total if found is None and not cell else found


def tables_of(
    statistic: StatisticDecl, subjects: Iterable[Subject], counting: Iterable[str]
) -> tuple[list[Table], list[Against]]:
    """The tables of a statistic, one for each list of cells. ``counting`` are all fields that count persons."""
    found: dict[int, Table] = {}
    against: list[Against] = []
    for number, subject in enumerate(subjects):
        name = statistic.population or (statistic.persons, subject.siblings)
        table = found.setdefault(subject.siblings, Table(statistic, name, around=_around(subject, counting)))
        if not _enter(table, subject, number):
            against.append(refused(rules.PRESENT, f"a cell of {_named(table)} is there twice, or is no count"))
    return list(found.values()), list(dict.fromkeys(against))


def _enter(table: Table, subject: Subject, number: int) -> bool:
    statistic = table.statistic
    table.objects |= {id(subject.fields), *(id(each) for each in subject.around if statistic.total in each)}
    cell = _cell(statistic, subject, number)
    if cell is None or cell in table.cells:
        return False
    try:
        table.cells[cell] = count_of(subject.fields.get(statistic.persons))
        table.total = count_of(subject.enclosing(statistic.total)) if statistic.total else None
    except ValueError:
        return False
    return True


def _cell(statistic: StatisticDecl, subject: Subject, number: int) -> Cell | None:
    if not statistic.dimensions:
        return frozenset({("", number)})
    levels = [(name, subject.fields.get(name)) for name in statistic.dimensions]
    if any(isinstance(level, dict | list) for _, level in levels):
        return None
    return frozenset((name, level) for name, level in levels if level is not None)


def _around(subject: Subject, counting: Iterable[str]) -> frozenset[int]:
    counts = (each[name] for each in subject.around for name in counting if name in each)
    return frozenset(count for count in counts if isinstance(count, int) and not isinstance(count, bool))


def _named(table: Table) -> str:
    return f"the {table.statistic.statistic} at {table.statistic.at or 'the document'}"


def of_tables(tables: Sequence[Table], floor: int) -> Iterator[Against]:
    """What is against these tables: each by itself, and all of one population together."""
    populations: dict[Hashable, list[Table]] = defaultdict(list)
    for table in tables:
        if _is_too_large(table):
            yield to_review(rules.LEVELS, f"{_named(table)} is too large to be looked at by rules")
            continue
        populations[table.name].append(table)
        yield from _of_levels(table)
        yield from _of_groups(table)
        yield from _of_what_is_around(table, floor)
    for linked in populations.values():
        yield from _of_hidden(linked, floor)


def of_what_stands_beside(tables: Sequence[Table], counted: Collection[int], is_alone: bool) -> Iterator[Against]:
    """Hidden cells with counts that nobody says to be of the same persons, or of others: they may be totals of these.

    ``counted`` are all objects of the document that count persons; ``is_alone`` is whether nothing else leaves.
    """
    for table in tables:
        near = [each.objects for each in tables if each.name == table.name or each.objects & table.objects]
        linked: set[int] = set().union(*near)
        if (not is_alone or set(counted) - linked) and table.hidden():
            yield to_review(rules.HIDDEN, f"{_named(table)} hides cells, and other counts of persons stand beside it")


def _is_too_large(table: Table) -> bool:
    return (
        len(table.dimensions) > _MOST_DIMENSIONS or prod(len(table.levels(d)) for d in table.dimensions) > _MOST_CELLS
    )


def _of_levels(table: Table) -> Iterator[Against]:
    most = rules.LEVELS.threshold or 0
    if any(len(table.levels(name)) > most for name in table.dimensions):
        yield to_review(rules.LEVELS, f"{_named(table)} has more than {most:g} categories")
    if table.statistic.statistic is StatisticClass.histogram:
        persons = table.total or sum(table.cells[cell] or 0 for cell in table.inner())
        if len(table.inner()) > max(1, persons * (rules.BINS.threshold or 0)):
            yield refused(rules.BINS, f"{_named(table)} has more bins than a tenth of its persons")


def _of_groups(table: Table) -> Iterator[Against]:
    """One category that holds (nearly) all of a line tells of each person in it."""
    for whole, parts in table.lines():
        shown = [count for part in parts if (count := table.value(part)) is not None]
        total = table.value(whole)
        total = sum(shown) if total is None and len(shown) == len(parts) > 1 else total
        if not total or not shown:
            continue
        if len(parts) > 1 and max(shown) >= total:
            yield refused(rules.GROUP_ALL, f"a category of {_named(table)} has all persons of its line")
        elif max(shown) >= (rules.GROUP_MOST.threshold or 1) * total:
            yield to_review(rules.GROUP_MOST, f"a category of {_named(table)} has nearly all persons of its line")


def _of_what_is_around(table: Table, floor: int) -> Iterator[Against]:
    """A count that stands around a table may be its total, whether it is said to be or not."""
    inner = [table.cells[cell] for cell in table.inner()]
    shown = sum(count for count in inner if count is not None)
    if None in inner and table.total is None and table.around:
        yield to_review(rules.HIDDEN, f"{_named(table)} hides cells, and counts around it may be its total")
    if None not in inner and any(0 < count - shown < floor for count in table.around):
        yield refused(rules.COMPLEMENT, f"{_named(table)} and a count around it differ by less than {floor}")


def _of_hidden(linked: Sequence[Table], floor: int) -> Iterator[Against]:
    values: dict[Hashable, int | None] = {}
    equations: list[Equation] = []
    protected: set[Hashable] = set()
    for table in linked:
        for cell in dict.fromkeys((*table.cells, _ALL)):
            value, key = table.value(cell), _key(table, cell)
            if value is not None and values.get(key) not in (None, value):
                yield to_review(rules.TOTAL, f"{_named(table)} contradicts another table of the same persons")
            values[key] = value if value is not None else values.get(key)
        protected |= {_key(table, cell) for cell in table.hidden()}
        equations += _equations(table, linked)
    answer = solve(values, equations, {key for key in protected if values.get(key) is None}, floor)
    yield from _told(answer, linked, floor)


def _equations(table: Table, linked: Sequence[Table]) -> Iterator[Equation]:
    """A total that is not published says nothing, unless another table has the same one."""
    others = {cell for other in linked if other is not table for cell in (*other.cells, *(w for w, _ in other.sums()))}
    for whole, parts in table.sums():
        if table.value(whole) is not None or whole in table.cells or whole in others:
            yield Equation(_key(table, whole), tuple(_key(table, part) for part in parts))


def _key(table: Table, cell: Cell) -> Hashable:
    """Cells of one population are the same where they have the same place; without dimensions none is."""
    return cell if table.statistic.dimensions else (id(table), cell)


def _told(answer: Answer, linked: Sequence[Table], floor: int) -> Iterator[Against]:
    named = _named(linked[0])
    if answer is Answer.exposed:
        text = f"a hidden cell of {named} is known more closely than {floor} by the totals"
        yield refused(rules.HIDDEN, text + _of_absent(linked))
    elif answer is Answer.unproved:
        yield to_review(rules.HIDDEN, f"{named} hides more than can be proved safe")
    elif answer is Answer.contradictory:
        yield to_review(rules.TOTAL, f"{named} does not add up to its totals")


def _of_absent(linked: Sequence[Table]) -> str:
    """Who wrote no hidden cell looks for one in vain."""
    partly = next((table for table in linked if table.hidden() - table.cells.keys()), None)
    if partly is None:
        return ""
    return f"; a combination of {' and '.join(partly.dimensions)} that is not there counts as hidden"

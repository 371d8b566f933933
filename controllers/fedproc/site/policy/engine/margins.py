"""What can be told of hidden counts from what is published with them: the margins of tables, linked or not.

Every published total is an equation over the counts that it adds up. A hidden count is safe if two tables of whole
numbers, both of which agree with all that is published, differ in it by at least the floor: nobody can know it more
closely than that. Where linear programming cannot find it so far apart, it is exposed. What lies between (a system
whose corners are no whole numbers) or is too large is not proved, and a person looks.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction

from fedproc.site.policy.engine.simplex import InfeasibleError, Polytope, TooLargeError

MOST_HIDDEN = 150
"""hidden counts of one system that are solved"""


@dataclass(frozen=True)
class Equation:
    """``whole`` is the sum of ``parts``: keys of counts, which may be published or hidden."""

    whole: Hashable
    parts: tuple[Hashable, ...]


class Answer(Enum):
    """What was found about hidden counts, the worst of all."""

    safe = "safe"
    exposed = "exposed"
    unproved = "unproved"
    contradictory = "contradictory"


def solve(
    values: Mapping[Hashable, int | None], equations: Iterable[Equation], protected: Collection[Hashable], floor: int
) -> Answer:
    """Whether each ``protected`` count may differ by ``floor`` from any that one may guess.

    What is None in ``values``, or not there, is not published.
    """
    systems = _components([_reduced(equation, values) for equation in equations])
    answers = {_of_component(system, set(protected), floor) for system in systems}
    order = (Answer.contradictory, Answer.exposed, Answer.unproved)
    return next((answer for answer in order if answer in answers), Answer.safe)


@dataclass(frozen=True)
class _Reduced:
    """Hidden counts with their factors, and what they add up to."""

    factors: Mapping[Hashable, int]
    right: int


def _reduced(equation: Equation, values: Mapping[Hashable, int | None]) -> _Reduced:
    factors: dict[Hashable, int] = {}
    right = 0
    for key, sign in [(equation.whole, -1), *((part, 1) for part in equation.parts)]:
        value = values.get(key)
        if value is None:
            factors[key] = factors.get(key, 0) + sign
        else:
            right -= sign * value
    return _Reduced({key: factor for key, factor in factors.items() if factor}, right)


def _components(rows: Sequence[_Reduced]) -> Iterator[list[_Reduced]]:
    """Rows that share hidden counts belong together."""
    groups: list[tuple[set[Hashable], list[_Reduced]]] = []
    for row in rows:
        keys, together = set(row.factors), [row]
        apart = []
        for known, others in groups:
            if known & keys:
                keys, together = keys | known, together + others
            else:
                apart.append((known, others))
        groups = [*apart, (keys, together)]
    yield from (together for _, together in groups)


def _of_component(rows: Sequence[_Reduced], protected: set[Hashable], floor: int) -> Answer:
    keys = list(dict.fromkeys(key for row in rows for key in row.factors))
    if not keys:
        return Answer.safe if all(row.right == 0 for row in rows) else Answer.contradictory
    if not protected & set(keys):
        return Answer.safe
    if len(keys) > MOST_HIDDEN:
        return Answer.unproved
    try:
        polytope = Polytope([[row.factors.get(key, 0) for key in keys] for row in rows], [row.right for row in rows])
        return _Search(polytope, len(keys), floor).answer([i for i, key in enumerate(keys) if key in protected])
    except InfeasibleError:
        return Answer.contradictory
    except TooLargeError:
        return Answer.unproved


class _Search:
    """Goes to corners until each count has been seen as far apart as the floor asks, or cannot be."""

    def __init__(self, polytope: Polytope, count: int, floor: int) -> None:
        self._polytope = polytope
        self._floor = floor
        self._count = count
        self._least: list[Fraction | None] = [None] * count
        self._most: list[Fraction | None] = [None] * count

    def answer(self, protected: Iterable[int]) -> Answer:
        found = {self._of(index) for index in protected}
        return next((each for each in (Answer.exposed, Answer.unproved) if each in found), Answer.safe)

    def _of(self, index: int) -> Answer:
        if self._is_wide(index):
            return Answer.safe
        wanted = [int(j == index) for j in range(self._count)]
        highest = self._to(wanted)
        if highest is None:
            return Answer.safe  # it may be as large as one likes
        if self._is_wide(index):
            return Answer.safe
        lowest = self._to([-value for value in wanted])
        if lowest is not None and highest + lowest < self._floor:
            return Answer.exposed
        return Answer.safe if self._is_wide(index) else Answer.unproved

    def _to(self, wanted: Sequence[int]) -> Fraction | None:
        """The corner at which ``wanted`` is largest; if it has whole numbers, it is a table that may be."""
        value = self._polytope.largest(wanted)
        point = self._polytope.point()
        if all(each.denominator == 1 for each in point):
            for index, each in enumerate(point):
                least, most = self._least[index], self._most[index]
                self._least[index] = each if least is None else min(least, each)
                self._most[index] = each if most is None else max(most, each)
        return value

    def _is_wide(self, index: int) -> bool:
        least, most = self._least[index], self._most[index]
        return least is not None and most is not None and most - least >= self._floor

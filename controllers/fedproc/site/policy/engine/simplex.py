"""Exact linear programming over small systems of whole numbers: the simplex method with integer pivots.

All entries stay whole numbers over one common denominator (J. Edmonds; R. E. Bixby's integer pivoting), so that no
rounding ever makes a hidden number look safer than it is. Bland's rule keeps it from going round in circles.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction


class TooLargeError(Exception):
    """The system takes more work than its budget."""


class InfeasibleError(Exception):
    """No numbers of 0 or more fulfil the equations."""


class Polytope:
    """All ``x >= 0`` with ``rows @ x == right``; ``budget`` is how many entries may be computed in all.

    Raises :class:`InfeasibleError` and, as all methods do, :class:`TooLargeError`.
    """

    def __init__(self, rows: Sequence[Sequence[int]], right: Sequence[int], budget: int = 20_000_000) -> None:
        self._columns = len(rows[0]) if rows else 0
        self._budget = budget
        self._common = 1
        self._rows = [
            [*(value * sign for value in row), *(int(i == j) for j in range(len(rows))), total * sign]
            for i, (row, total) in enumerate(zip(rows, right, strict=True))
            for sign in [-1 if total < 0 else 1]
        ]
        self._basis = [self._columns + i for i in range(len(rows))]
        self._find_a_point()

    def largest(self, wanted: Sequence[int]) -> Fraction | None:
        """The maximum of ``wanted @ x``; None if there is none. :meth:`point` is then where it is."""
        while (column := self._entering(wanted)) is not None:
            row = self._leaving(column)
            if row is None:
                return None
            self._pivot(row, column)
        return sum((wanted[j] * value for j, value in enumerate(self.point()) if wanted[j]), Fraction(0))

    def point(self) -> list[Fraction]:
        """The vertex at which it stands."""
        found = [Fraction(0)] * self._columns
        for row, basic in zip(self._rows, self._basis, strict=True):
            if basic < self._columns:
                found[basic] = Fraction(row[-1], self._common)
        return found

    def _find_a_point(self) -> None:
        """The first phase: what was added to each equation, so that there is a point to begin with, becomes 0."""
        added = [0] * self._columns + [-1] * len(self._rows)
        while (column := self._entering(added)) is not None:
            row = self._leaving(column)
            assert row is not None, "the sum of what was added is bounded"
            self._pivot(row, column)
        if any(basic >= self._columns and row[-1] for basic, row in zip(self._basis, self._rows, strict=True)):
            raise InfeasibleError
        self._drop_what_was_added()

    def _drop_what_was_added(self) -> None:
        for row in range(len(self._rows)):
            if self._basis[row] >= self._columns:
                column = next((j for j in range(self._columns) if self._rows[row][j]), None)
                if column is not None:
                    self._pivot(row, column)
        kept = [i for i, basic in enumerate(self._basis) if basic < self._columns]
        self._rows = [[*self._rows[i][: self._columns], self._rows[i][-1]] for i in kept]
        self._basis = [self._basis[i] for i in kept]

    def _entering(self, wanted: Sequence[int]) -> int | None:
        costs = [(wanted[basic], row) for basic, row in zip(self._basis, self._rows, strict=True) if wanted[basic]]
        self._spend(len(wanted) * (len(costs) + 1))
        basic = set(self._basis)
        for column, gain in enumerate(wanted):
            reduced = gain * self._common - sum(cost * row[column] for cost, row in costs)
            if reduced > 0 and column not in basic:
                return column
        return None

    def _leaving(self, column: int) -> int | None:
        rows = [
            (Fraction(row[-1], row[column]), self._basis[i], i) for i, row in enumerate(self._rows) if row[column] > 0
        ]
        return min(rows)[2] if rows else None

    def _pivot(self, row: int, column: int) -> None:
        self._spend(len(self._rows) * len(self._rows[row]))
        by = self._rows[row]
        if by[column] < 0:
            by = self._rows[row] = [-value for value in by]
        pivot, before = by[column], self._common
        for i, other in enumerate(self._rows):
            if i != row:
                factor = other[column]
                self._rows[i] = [
                    (value * pivot - factor * ours) // before for value, ours in zip(other, by, strict=True)
                ]
        self._common, self._basis[row] = pivot, column

    def _spend(self, entries: int) -> None:
        self._budget -= entries
        if self._budget < 0:
            raise TooLargeError

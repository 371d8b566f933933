"""Small counts: which neighbouring cells must be taken together so that none speaks of a few persons.

A count may be shown if it is 0 or at least ``least``. Whatever is coarsened here is coarsened by joining whole
cells, never by rounding or leaving out: sums over sites stay exact on the cells that all sites kept.
"""

from __future__ import annotations

from collections.abc import Sequence

Cell = tuple[int, ...]
"""Counts of one cell that are shown side by side (events, censored)."""


def showable(count: int, least: int) -> bool:
    """Whether a count may leave the site."""
    return count == 0 or count >= least


def boundaries(cells: Sequence[Cell], rest: int, least: int) -> tuple[int, ...]:
    """Which of the cells' ends to keep: ascending numbers, ``k`` for the end of the ``k``-th cell.

    Between two kept ends (and from the start to the first) every component's sum is showable, and so is the
    number of all persons after the last one, of which ``rest`` lie beyond the cells. Ends divisible by high
    powers of two are preferred: sites cannot see each other's counts, so only a common taste lets them keep
    the same ends. Empty if no end can be kept; the number of all persons must itself be showable.
    """
    sums = _running_sums(cells)
    everybody = sum(sums[-1]) + rest
    chains: dict[int, tuple[int, tuple[int, ...]]] = {0: (0, ())}
    for end in range(1, len(sums)):
        before = [chain for start, chain in chains.items() if _all_showable(sums[start], sums[end], least)]
        if before:
            weight, kept = max(before)
            chains[end] = (weight + _preference(end), (*kept, end))
    return max(chain for end, chain in chains.items() if showable(everybody - sum(sums[end]), least))[1]


def groups(counts: Sequence[int], least: int) -> list[list[int]]:
    """Unordered categories: their indices, put together so that each group's count is showable.

    All small ones form one group, joined by the next smallest as long as it is too small itself. The number of
    all persons must itself be showable.
    """
    small = [index for index, count in enumerate(counts) if not showable(count, least)]
    others = sorted((index for index, count in enumerate(counts) if count >= least), key=lambda index: counts[index])
    while small and not showable(sum(counts[index] for index in small), least):
        small.append(others.pop(0))
    alone = [[index] for index in range(len(counts)) if index not in small]
    return sorted([*alone, sorted(small)] if small else alone)


def _running_sums(cells: Sequence[Cell]) -> list[Cell]:
    sums = [(0,) * len(cells[0])]
    for cell in cells:
        sums.append(tuple(total + count for total, count in zip(sums[-1], cell, strict=True)))
    return sums


def _all_showable(before: Cell, after: Cell, least: int) -> bool:
    return all(showable(b - a, least) for a, b in zip(before, after, strict=True))


def _preference(end: int) -> int:
    return (end & -end).bit_length()

"""The joining of small cells, checked against trying every possibility."""

from __future__ import annotations

import importlib.util
import itertools
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

LEAST = 4


@pytest.fixture(scope="module")
def cells() -> ModuleType:
    path = Path(__file__).parents[2] / "tool_catalog/library/life_tables/cells.py"
    spec = importlib.util.spec_from_file_location("life_tables_cells", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _may_be_shown(cells: list[tuple[int, int]], rest: int, kept: tuple[int, ...]) -> bool:
    segments = [cells[a:b] for a, b in itertools.pairwise((0, *kept))]
    counts = [sum(part) for segment in segments for part in zip(*segment, strict=True)]
    after = rest + sum(map(sum, cells[kept[-1] if kept else 0 :]))
    return all(count == 0 or count >= LEAST for count in (*counts, after))


counts = st.integers(0, 6)


@pytest.mark.slow
@given(st.lists(st.tuples(counts, counts), min_size=1, max_size=7), st.integers(0, 6))
def test_kept_boundaries_show_no_small_count_and_none_better_exist(
    cells: ModuleType, table: list[tuple[int, int]], rest: int
) -> None:
    everybody = rest + sum(map(sum, table))
    if 0 < everybody < LEAST:
        return
    kept = cells.boundaries(table, rest, LEAST)
    assert _may_be_shown(table, rest, kept)

    def worth(chain: tuple[int, ...]) -> int:
        return sum((end & -end).bit_length() for end in chain)

    ends = range(1, len(table) + 1)
    chains = itertools.chain.from_iterable(itertools.combinations(ends, k) for k in range(len(table) + 1))
    assert worth(kept) == max(worth(chain) for chain in chains if _may_be_shown(table, rest, chain))


@pytest.mark.slow
@given(st.lists(counts, min_size=1, max_size=8))
def test_groups_show_no_small_count_and_hold_every_category_once(cells: ModuleType, table: list[int]) -> None:
    if 0 < sum(table) < LEAST:
        return
    found = cells.groups(table, LEAST)
    assert sorted(itertools.chain.from_iterable(found)) == list(range(len(table)))
    assert all(cells.showable(sum(table[i] for i in group), LEAST) for group in found)
    assert all([index] in found for index, count in enumerate(table) if count == 0)

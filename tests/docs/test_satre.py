"""The page of SATRE's clauses: those on output, data and audit are there, and each names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/satre.md").read_text()
ROWS = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in PAGE.splitlines() if line.startswith("| ")]
CLAUSES = (
    "2.5.03", "3.1.05", "3.1.06", "3.1.07", "3.1.09", "3.1.10", "3.1.12", "3.3.01", "3.3.02", "3.3.03", "3.3.04",
    "3.3.05", "3.3.06", "3.3.07", "3.3.08", "3.3.09", "5.6.01",
)  # fmt: skip


@pytest.mark.parametrize("clause", CLAUSES)
def test_clause_has_its_line(clause: str) -> None:
    assert any(clause in row[0] for row in ROWS[1:])


def test_each_line_names_tests_that_exist() -> None:
    for row in ROWS[1:]:
        named = re.findall(r"`([^`]+)`", row[-1])
        assert named, row
        for place in named:
            path, _, test = place.partition("::")
            found = ROOT / "tests" / path
            assert found.exists(), place
            assert not test or re.search(rf"def {test}\(", found.read_text()), place

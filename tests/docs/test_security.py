"""The page of who can do what: whoever was to be thought of is there, and each row names a test that exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = re.sub(
    r"## What a hostile tool tries\n.*?(?=\n## )", "", (ROOT / "docs/security.md").read_text(), flags=re.DOTALL
)
"""without the ways that one test of its own goes through: ``resilience/test_ways_out.py``"""
ROWS = [line.strip("| ").split(" | ") for line in PAGE.splitlines() if re.match(r"\| (?!party|channel)", line)]
PARTIES = (
    "a tool", "a researcher", "a host", "the broker", "the gateway", "the central database", "the identity provider",
    "the dispatch key", "the catalogue's key", "a backup",
)  # fmt: skip


@pytest.mark.parametrize("party", PARTIES)
def test_every_party_is_there(party: str) -> None:
    assert any(party in row[0] for row in ROWS)


def test_every_row_names_tests_that_exist() -> None:
    for row in ROWS:
        named = re.findall(r"`([^`]+)`", row[-1])
        assert named, row
        for place in named:
            path, _, test = place.partition("::")
            found = ROOT / "tests" / path
            assert found.exists(), place
            assert not test or re.search(rf"def {test}\(", found.read_text()), place

"""The glossary has each word once, in order, and explains it in one or more sentences."""

from __future__ import annotations

import re
from pathlib import Path

ROWS = re.findall(
    r"^\| ([^|]+) \| ([^|]+) \|$", (Path(__file__).parents[2] / "docs/glossary.md").read_text(), re.MULTILINE
)[1:]


def test_each_word_stands_once_in_order() -> None:
    words = [word for word, _ in ROWS]
    assert len(words) > 50
    assert words == sorted(set(words))


def test_each_meaning_is_made_of_sentences() -> None:
    assert [word for word, meaning in ROWS if not meaning.endswith(".")] == []

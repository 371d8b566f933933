"""What tools of images share."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

CELLS = Path(__file__).parents[2] / "tool_catalog/library/imaging/cells.py"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ACME", "ACME"),
        ("Twenty characters ab", "Twenty characters ab"),
        ("NOT STATED BY THE SOURCE", "NOT STATED BY THE..."),
        (" Mü\\ller \n AG", "M ller AG"),
        ("", "?"),
    ],
)
def test_long_name_is_cut_and_ends_in_dots(text: str, shown: str) -> None:
    assert runpy.run_path(str(CELLS))["named"](text, 20) == shown

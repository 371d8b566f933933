"""The journey of one job leads through files, functions and classes that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STEPS = re.findall(r"`([\w/]+\.py)::([\w.]+)`", (ROOT / "docs/journey.md").read_text())


def names_in(body: list[ast.stmt], prefix: str = "") -> set[str]:
    found: set[str] = set()
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(prefix + node.name)
        if isinstance(node, ast.ClassDef):
            found |= names_in(node.body, f"{node.name}.")
    return found


def test_journey_has_all_of_its_steps() -> None:
    assert len(STEPS) > 30


@pytest.mark.slow
@pytest.mark.parametrize(("path", "name"), STEPS, ids=lambda value: value)
def test_step_is_where_the_journey_says(path: str, name: str) -> None:
    assert name in names_in(ast.parse((ROOT / "controllers/fedproc" / path).read_text()).body)

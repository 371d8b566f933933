"""The codes of the package: each that is raised has a cure, and no cure is left over."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import fedproc.net
from fedproc.net.errors import CURES, cure_for

SOURCES = tuple(Path(fedproc.net.__file__).parent.glob("*.py"))


def codes(source: Path) -> Iterator[str]:
    """What stands as the first argument of each RouteError, both ends of a conditional included."""
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "RouteError":
            yield from (part.value for part in ast.walk(node.args[0]) if isinstance(part, ast.Constant))


def test_codes_and_cures_are_the_same() -> None:
    assert {code for source in SOURCES for code in codes(source)} == set(CURES)


@pytest.mark.parametrize("code", CURES)
def test_a_cure_names_what_is_to_be_reached(code: str) -> None:
    cure = cure_for(code, "api.test", 8443)
    assert ("api.test" in cure) == ("{host}" in CURES[code])
    assert not set("{}") & set(cure)


def test_another_code_has_no_cure() -> None:
    assert cure_for("tls-cut", "api.test", 443) == ""

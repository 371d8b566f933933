"""The field's words: none of the private ones that they took the place of comes back (docs/glossary.md).

Names that are interfaces keep theirs: types and fields on the wire, columns, settings, metrics, paths, commands.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from fedproc.central.db.schema import metadata

ROOT = Path(__file__).parents[1]
PROGRAM = ROOT / "controllers/fedproc"

MODULES = frozenset({
    "bell", "way_out", "gate", "letters", "numbers", "world", "guard", "bounds", "slots", "toolbox", "environments",
    "preparation", "delivery", "inside", "story", "waiting", "judges", "words", "look", "links", "content", "context",
    "host", "outcome", "deciding", "store", "intake", "receiving", "ending_", "transfer", "deployment", "peer_tls",
})  # fmt: skip
NAMES = frozenset({
    "Bell", "SocketBell", "NotifyBell", "bell", "bell_for", "ring", "ring_in", "heard",
    "WayOut", "way_out", "Gate", "_Passage", "_apology", "Act", "act_of",
    "letters", "Unread", "bury", "Taken", "taken_in", "take_in", "Numbers", "Standing",
    "deciding", "reading", "writing", "told", "spared", "books", "lay_out", "preparation",
    "Host", "Centre", "centre_of", "World", "world", "world_of", "Guard", "guard", "Bounds", "Held", "Slots",
    "Toolbox", "toolbox", "Installed", "Environments", "Asking", "asking", "Outcome", "said", "Tell", "tell",
    "judge", "judges", "words", "look", "Links", "Grant", "pour",
    "take_away", "take_up", "taken_up", "hand_out", "fault", "faults",
})  # fmt: skip
PHRASES = re.compile(r"\b(turn(s|ed)? out|let(s)? in|is away|way out|take(s|n)? away|hand(s|ed)? out)\b")
"""in log events, error texts and headings"""


COLUMNS = frozenset(column.name for table in metadata.tables.values() for column in table.columns)
FACTS = frozenset({"fault"})
"""fields of the host check's report"""


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def names(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name) | ast.arg(arg=name):
                yield node.lineno, name
            case ast.Attribute(attr=name) if name not in COLUMNS | {"tell"}:
                yield node.lineno, name
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield node.lineno, name
            case ast.ExceptHandler(name=str(name)):
                yield node.lineno, name
            case ast.alias():
                yield node.lineno, node.asname or node.name


def spoken(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """The texts of raised errors and the names of log events."""
    for node in ast.walk(tree):
        call = node.exc if isinstance(node, ast.Raise) else node
        if isinstance(call, ast.Call) and (isinstance(node, ast.Raise) or _is_log(call)):
            for part in ast.walk(call):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    yield part.lineno, part.value


def _is_log(call: ast.Call) -> bool:
    function = call.func
    return isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name) and function.value.id == "log"


SOURCES = sorted(PROGRAM.rglob("*.py"))


@pytest.mark.slow
def test_modules_have_the_fields_words() -> None:
    assert [str(path.relative_to(PROGRAM)) for path in SOURCES if path.stem in MODULES] == []
    assert [found for path in SOURCES for found in private_names(path)] == []


def private_names(path: Path) -> list[str]:
    private = NAMES - FACTS if "onboarding" in path.parts else NAMES
    return [f"{path.relative_to(ROOT)}:{line}: {name}" for line, name in names(tree_of(path)) if name in private]


@pytest.mark.slow
def test_events_and_error_texts_have_the_fields_words() -> None:
    texts = [(path, *text) for path in SOURCES for text in spoken(tree_of(path))]
    assert len(texts) > len(SOURCES)
    assert [f"{path.relative_to(ROOT)}:{line}: {text}" for path, line, text in texts if PHRASES.search(text)] == []


PAGES = sorted([*ROOT.glob("docs/**/*.md"), *ROOT.glob("roles/*/README.md"), ROOT / "README.md"])


def test_headings_have_the_fields_words() -> None:
    headings = [
        (path, heading) for path in PAGES for heading in re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
    ]
    assert len(headings) > len(PAGES)
    assert [f"{path.relative_to(ROOT)}: {heading}" for path, heading in headings if PHRASES.search(heading)] == []

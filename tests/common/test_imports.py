"""What a library takes only where it is there is left out, and nobody else sees a difference."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from fedproc.common.imports import without

LIBRARY = """
try:
    import fedproc_of_a_terminal
except ImportError:
    fedproc_of_a_terminal = None
"""


@pytest.fixture(autouse=True)
def libraries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "fedproc_of_a_terminal.py").touch()
    (tmp_path / "fedproc_of_a_daemon.py").write_text(LIBRARY)
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("fedproc_of_a_terminal", "fedproc_of_a_daemon"):
        monkeypatch.delitem(sys.modules, name, raising=False)


def test_without_what_a_library_takes_where_it_is_there() -> None:
    with without("fedproc_of_a_terminal"):
        daemon = __import__("fedproc_of_a_daemon")
    assert daemon.fedproc_of_a_terminal is None
    assert __import__("fedproc_of_a_terminal").__name__ == "fedproc_of_a_terminal"


def test_without_what_is_loaded_already_changes_nothing() -> None:
    before = __import__("fedproc_of_a_terminal")
    with without("fedproc_of_a_terminal"):
        assert __import__("fedproc_of_a_daemon").fedproc_of_a_terminal is before
    assert sys.modules["fedproc_of_a_terminal"] is before


def test_without_is_over_after_an_error() -> None:
    with pytest.raises(ZeroDivisionError), without("fedproc_of_a_terminal"):
        raise ZeroDivisionError
    assert "fedproc_of_a_terminal" not in sys.modules

"""What others wrote is printed as it is: never as markup, and never as a command to the terminal."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.text import Text

from fedproc.cli import show

HOSTILE = "[red]x[/] [/] :smile: \x1b[31mred\x85\u2028\x9b2Jend"


def test_text_of_others_is_neither_markup_nor_a_control_character(capsys: pytest.CaptureFixture[str]) -> None:
    show.say(HOSTILE)
    show.notice(show.bold(HOSTILE))
    show.table((HOSTILE,), [(HOSTILE,)], none="")
    said = capsys.readouterr()
    for text in (said.out, said.err):
        assert r"[red]x[/] [/] :smile: \x1b[31mred\x85\u2028\x9b2Jend" in text
        assert not {"\x1b", "\x85", "\u2028", "\x9b"} & set(text)


def test_text_of_several_lines_is_printed_line_by_line(capsys: pytest.CaptureFixture[str]) -> None:
    show.say_lines(f"one\r\n  two\n\n{HOSTILE}\n")
    said = capsys.readouterr().out
    assert said.startswith("one\n  two\n\n[red]x")
    assert not {"\x1b", "\x85", "\u2028", "\x9b", "\r"} & set(said)
    assert show.flowing("one\n  two\r\n") == "one two"


def test_a_name_that_is_no_utf8_can_be_printed(capsys: pytest.CaptureFixture[str]) -> None:
    show.say("M\udcfcller")
    assert capsys.readouterr().out == "M\\udcfcller\n"


def test_json_stays_what_it_was_and_a_terminal_obeys_none_of_it() -> None:
    text = show.one_json([HOSTILE, "Zürich"])
    assert json.loads(text) == [HOSTILE, "Zürich"]
    assert "Zürich" in text
    assert len(text.splitlines()) == 1


def test_a_table_that_goes_to_a_pipe_is_neither_folded_nor_cut(capsys: pytest.CaptureFixture[str]) -> None:
    long = "word " * 400
    show.table(("a", "b"), [("x" * 300, long)], none="")
    out = capsys.readouterr().out
    assert len(out.splitlines()) == 2
    assert long.strip() in out
    assert "x" * 300 in out


def test_styles_are_parts_of_a_line() -> None:
    made = show.line("a ", show.styled("b", "red"), 3)
    assert isinstance(made, Text)
    assert made.plain == "a b3"


def test_no_command_prints_by_itself() -> None:
    """One place prints, so that no command can forget that what it prints is others' text."""
    modules = [path for path in Path(show.__file__).parent.rglob("*.py") if path.name not in {"show.py", "follow.py"}]
    assert len(modules) > 15
    assert [path.name for path in modules if "console.print" in path.read_text() or "[/]" in path.read_text()] == []

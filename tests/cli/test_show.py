"""What others wrote is printed as it is: never as markup, and never as a command to the terminal."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.text import Text

from fedproc.cli import datasets, show
from fedproc.contract.api.grants import ResearcherGrant

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


EXPERIMENTS = [
    ("e-01k8jsvr1vm9u59pikbk0ouee6", "cohort-statistics 3.0.1", "succeeded", "2026-11-29 14:45:06", "trial 1"),
    ("e-01k8jsvr1vm9u59pikbk0ouee7", "host-acceptance 2.0.0", "cancelled", "2026-11-29 14:45:06", ""),
]


def test_table_keeps_names_and_dates_whole_in_80_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    show.table(("experiment", "tool", "state", "started", "label"), EXPERIMENTS, none="")
    show.table(("host", "what it is"), [("EUCAIM", "word " * 40)], none="")
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    for word in " ".join(" ".join(row) for row in EXPERIMENTS).split():
        assert word in out.split(), word


def test_table_that_has_no_room_for_its_words_folds_them(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    show.table(("experiment", "sha256"), [("e-1", "a" * 64)], none="")
    out = capsys.readouterr().out
    assert "a" * 64 in out.replace("\n", "").replace(" ", "")


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("Fits a model. It is exact.", "Fits a model."),
        ("Counts the 3.5 kB\n of rows, e.g. of UB", "Counts the 3.5 kB of rows, e.g. of UB"),
        ("", ""),
    ],
)
def test_first_sentence_ends_where_another_begins(text: str, first: str) -> None:
    assert show.first_sentence(text) == first


@pytest.mark.parametrize(
    ("grant", "said"),
    [
        ({"answer": "open"}, ""),
        ({"answer": "not_granted", "reason": "none; ask there"}, "you have no grant to use it: none; ask there\n"),
        ({"answer": "not_asked", "reason": "away"}, "whether you may use it could not be asked now: away\n"),
        (
            {"answer": "granted", "provider": "eucaim", "grants": [
                {"project": "A", "permit": "N-1", "purpose": "research", "until": "2030-01-01T00:00:00Z"}, {}]},
            "granted to you by eucaim: project A, permit N-1, purpose research; until UNTIL\n"
            "granted to you by eucaim: it says no more\n",
        ),
    ],
)  # fmt: skip
def test_dataset_is_shown_with_what_the_readers_grant_says(
    capsys: pytest.CaptureFixture[str], grant: dict[str, object], said: str
) -> None:
    datasets._show_grant(ResearcherGrant.model_validate({"dataset": "UB:a", **grant}))
    assert capsys.readouterr().out == said.replace("UNTIL", show.clock(datetime(2030, 1, 1, tzinfo=UTC)))
    datasets._show_grant(None)
    assert capsys.readouterr().out == ""

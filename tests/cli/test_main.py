"""The application: by a command's first word it has what it has by none, and no more than it needs."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from tests.cli.conftest import Call
from typer.main import get_command

from fedproc.cli.main import application

ALL: dict[str, Any] = get_command(application([])).commands  # type: ignore[attr-defined]


def names(command: Any) -> Any:
    return {name: names(below) for name, below in getattr(command, "commands", {}).items()}


@pytest.mark.parametrize("word", ALL)
def test_a_command_has_all_that_is_below_it_when_it_is_asked_for_alone(word: str) -> None:
    alone = get_command(application([word, "show"]))
    assert names(getattr(alone, "commands", {word: alone})[word]) == names(ALL[word])


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [[], ["--help"], ["nonsense"]])
def test_whoever_asks_for_no_command_is_shown_all(arguments: list[str]) -> None:
    assert names(get_command(application(arguments))) == names(get_command(application([])))


@pytest.mark.process
def test_a_hosts_commands_load_nothing_of_the_users_ones() -> None:
    script = (
        "import sys; from fedproc.cli.main import application; application(['site', 'status']); print(*sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert "fedproc.cli.site.control" in loaded
    assert not {"fedproc.cli.run", "fedproc.client.api", "httpx"} & set(loaded)


@pytest.mark.slow
def test_help_has_each_exit_code_on_a_line_of_its_own(fedproc: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = [line.strip() for line in fedproc("run", "--help").out.splitlines()]
    assert "4    succeeded without some of its hosts, as the tool allows" in lines
    assert "3    it has not succeeded (yet): there may be no results, or only some" in [
        line.strip() for line in fedproc("results", "--help").out.splitlines()
    ]

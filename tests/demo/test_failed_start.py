"""What a start that fails leaves: nothing of its own, and all of a federation that ran before."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fedproc.common.errors import InvalidInputError, UnavailableError
from fedproc.demo import __main__ as demo
from fedproc.demo.federation import Federation, read_env
from fedproc.demo.trying import offer_tools


class Begun:
    """Notes what is done with a federation."""

    def __init__(self, *, running: bool) -> None:
        self.supervisor: Any = SimpleNamespace(is_running=lambda: running)
        self.done: list[str] = []

    def failed_logs(self) -> list[str]:
        return ["broker does not run (fatal); it said last:\nno disk"]

    def keep_logs(self) -> None:
        self.done.append("keep_logs")

    def down(self) -> None:
        self.done.append("down")


def failed(federation: Any, error: Exception, ended: Any) -> list[str]:
    with pytest.raises(type(error)), ended(federation):
        raise error
    return list(federation.done)


@pytest.mark.parametrize("ended", [demo._ended_if_it_fails, demo._ended_after])
def test_what_was_begun_is_ended_and_its_logs_are_kept(ended: Any) -> None:
    assert failed(Begun(running=False), UnavailableError("the broker does not answer"), ended) == ["keep_logs", "down"]
    assert failed(Begun(running=False), InvalidInputError("no tool"), ended) == ["down"]


@pytest.mark.parametrize("ended", [demo._ended_if_it_fails, demo._ended_after])
def test_federation_that_ran_before_goes_on(ended: Any) -> None:
    assert failed(Begun(running=True), UnavailableError("a federation runs already"), ended) == []


def test_log_of_what_did_not_start_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    failed(Begun(running=False), UnavailableError("the broker does not answer"), demo._ended_if_it_fails)
    assert "broker does not run (fatal); it said last:\nno disk\n" in capsys.readouterr().err
    federation = Federation(tmp_path, tmp_path, [])
    (tmp_path / "log").mkdir()
    (tmp_path / "log/api.log").write_text("".join(f"line {number}\n" for number in range(40)) + "\x1b[31mno port\n")
    states = [("api", "BACKOFF", ""), ("relay", "RUNNING", ""), ("runner-UB", "STOPPED", ""), ("issuer", "FATAL", "")]
    federation.supervisor = SimpleNamespace(status=lambda: states)  # type: ignore[assignment]
    (text,) = federation.failed_logs()
    assert text.startswith("api does not run (backoff); it said last:\nline 26\n")
    assert text.endswith("\n\\x1b[31mno port")


def test_tools_are_not_offered_while_the_federation_starts(tmp_path: Path) -> None:
    federation = Federation(tmp_path, tmp_path, [])
    (tmp_path / "starting").write_text(str(os.getpid()))
    with pytest.raises(UnavailableError, match="is starting still: try again when make demo-up ends"):
        offer_tools(federation, tmp_path, print)
    (tmp_path / "starting").write_text("no number")
    with pytest.raises(UnavailableError, match="no federation runs in"):
        offer_tools(federation, tmp_path, print)


def test_other_settings_of_a_shell_are_not_the_federations(tmp_path: Path) -> None:
    (tmp_path / "env").write_text("export FEDPROC_URL='http://c'\nexport PATH=/demo/bin:\"$PATH\"\n")
    assert read_env(tmp_path) == {"FEDPROC_URL": "http://c"}

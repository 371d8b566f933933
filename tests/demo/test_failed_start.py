"""What a start that fails leaves: nothing of its own, and all of a federation that ran before."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fedproc.common.errors import InvalidInputError, UnavailableError
from fedproc.demo import __main__ as demo
from fedproc.demo.federation import read_env


class Begun:
    """Notes what is done with a federation."""

    def __init__(self, *, running: bool) -> None:
        self.supervisor: Any = SimpleNamespace(is_running=lambda: running)
        self.done: list[str] = []

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


def test_other_settings_of_a_shell_are_not_the_federations(tmp_path: Path) -> None:
    (tmp_path / "env").write_text("export FEDPROC_URL='http://c'\nexport PATH=/demo/bin:\"$PATH\"\n")
    assert read_env(tmp_path) == {"FEDPROC_URL": "http://c"}

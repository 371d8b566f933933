"""An experiment as it is shown while it goes on."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from typing import Any

from rich.console import Console

from fedproc.cli.follow import elapsed, follow
from fedproc.contract.api.experiments import EventView

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
JOB = {"job": "j-" + "0" * 26, "host": "UB", "task": "local"}


def _event(seconds: float = 0, **more: Any) -> EventView:
    return EventView(id=1, experiment="e-" + "0" * 26, time=BEGAN + timedelta(seconds=seconds), **more)


def _shown(*events: EventView, terminal: bool = False, logs: bool = False) -> str:
    text = io.StringIO()
    follow(events, Console(file=text, force_terminal=terminal, width=200, color_system=None), logs=logs)
    return text.getvalue()


def test_brackets_in_what_jobs_say_are_text() -> None:
    said = [
        _event(**JOB, metrics={"loss[/]": "[red]"}),
        _event(**JOB, progress={"waiting_for": "[/bold] room"}),
        _event(**JOB, log={"lines": ["[/] a line [blink]"]}),
        _event(**JOB, state="failed", code="x", reason="[/] no [1, 2]"),
    ]
    for terminal in (False, True):
        shown = _shown(*said, terminal=terminal, logs=True)
        for text in ("loss[/] [red]", "[/] a line [blink]", "[/] no [1, 2]"):
            assert text in shown, (terminal, text)
        assert terminal or "waits for [/bold] room" in shown


def test_failed_job_without_lines_says_whom_to_ask_for_what() -> None:
    failed = _event(**JOB, state="failed", reason="the command exited with 2, expected 0")
    for terminal, logs in ((False, False), (True, False), (False, True)):
        shown = _shown(failed, terminal=terminal, logs=logs)
        assert "no line of it came, as it wrote none or UB lets none out: ask its people what it said last" in shown
        assert f"journalctl -u fedproc-orchestrator -o cat | grep {JOB['job']}" in shown
    assert "ask its people" not in _shown(_event(**JOB, log={"lines": ["KeyError"]}), failed)


def test_elapsed_times_are_those_of_the_events() -> None:
    shown = _shown(_event(0, **JOB, state="queued"), _event(3723, **JOB, state="succeeded"), terminal=True)
    assert "1:02:03" in shown
    assert elapsed(BEGAN, BEGAN - timedelta(seconds=5)) == "0:00:00"


def test_a_success_without_a_host_is_told_in_a_terminal_and_in_a_pipe() -> None:
    for terminal in (False, True):
        assert "succeeded without BSC" in _shown(_event(state="succeeded", reason="without BSC"), terminal=terminal)


def test_lines_say_what_is_waited_for_and_nothing_twice() -> None:
    waits = _event(**JOB, progress={"waiting_for": "room for 4 CPUs"})
    dispatched, review = _event(**JOB, state="dispatched"), _event(**JOB, state="awaiting_release")
    other = _event(**{**JOB, "job": "j-" + "1" * 26, "host": "BSC"}, state="dispatched")
    shown = _shown(dispatched, dispatched, other, waits, waits, _event(**JOB, state="running"), waits, review)
    assert [" ".join(each.split()) for each in shown.splitlines()] == [
        "local@UB dispatched: waits for its host to take it",
        "local@BSC dispatched: waits for its host to take it",
        "local@UB waits for room for 4 CPUs",
        "local@UB running",
        "local@UB waits for room for 4 CPUs",
        "local@UB awaiting_release: waits for a person at its site, who decides whether its outputs leave",
    ]
    assert "waits for its host to take it" in _shown(dispatched, terminal=True)


def test_reason_of_an_event_goes_before_what_its_state_means() -> None:
    shown = _shown(_event(**JOB, state="queued", code="x", reason="sent again"), _event(state="queued"))
    assert "queued (x) sent again" in shown
    assert "waits for its turn" not in shown

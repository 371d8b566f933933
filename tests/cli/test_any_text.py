"""Words of others, whatever they are, are shown as they are: no markup, no command to a terminal, no traceback."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given
from rich.console import Console
from tests.support.anything import JSON, ODD_TEXTS, TEXTS
from tests.support.examples import examples

from fedproc.cli import show
from fedproc.cli.follow import follow
from fedproc.contract.api.experiments import EventView

NOW = datetime.now(UTC)
OBEYED = set("\x00\x1b\x85\u2028\x9b\r\ud800")
MARKUP = "".join(text for text in ODD_TEXTS if len(text) < 100 and "\n" not in text)


def events_of(text: str, value: Any) -> list[EventView]:
    """One of each kind, with others' words in each place that holds any."""
    common: dict[str, Any] = {"time": NOW, "experiment": "e", "job": "j", "host": text, "task": text}
    kinds: list[dict[str, Any]] = [
        {"state": "running", "reason": text, "code": text},
        {"metrics": {text: value, "": value}},
        {"progress": {"waiting_for": text}},
        {"progress": {text: value}},
        {"log": {"stream": text, "lines": [text, ""]}},
        {"state": "failed", "reason": text, "code": text},
    ]
    views = [EventView.model_construct(id=number, **common, **kind) for number, kind in enumerate(kinds)]
    end = EventView.model_construct(id=99, time=NOW, experiment="e", state="failed", reason=text)
    return [*views, end]


@pytest.mark.slow
@pytest.mark.parametrize("terminal", [True, False])
@examples(60)
@given(text=TEXTS, value=JSON)
@example(text=MARKUP, value=[MARKUP, {MARKUP: MARKUP}])
def test_events_of_any_words_are_shown(terminal: bool, text: str, value: Any) -> None:
    out = io.StringIO()
    shown = Console(file=out, force_terminal=terminal, width=4000, highlight=False, soft_wrap=True, color_system=None)
    assert follow(events_of(text, value), shown, logs=True) == "failed"
    out.getvalue().encode()
    if not terminal:
        assert not OBEYED & set(out.getvalue())


@pytest.mark.slow
@examples(100)
@given(text=TEXTS, value=JSON)
@example(text=MARKUP, value=MARKUP)
def test_what_is_printed_of_any_words_is_text(text: str, value: Any) -> None:
    out = io.StringIO()
    console = Console(file=out, width=4000, highlight=False, soft_wrap=True, color_system=None)
    console.print(show.line(text, show.bold(text), show.coloured(text), value))
    show.table((text, "b"), [(text, value), (show.bold(text), text)], none=text)
    json.loads(show.one_json([text]))
    assert not OBEYED & set(out.getvalue())

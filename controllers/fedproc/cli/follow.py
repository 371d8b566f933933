"""An experiment as it goes on, in a terminal: a bar per job, metrics as they come; plain lines to a file or pipe."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID
from rich.text import Text

from fedproc.cli.show import bold, coloured, line, styled
from fedproc.contract.api.experiments import EventView
from fedproc.contract.states import TERMINAL, JobState, goes_on

_STEPS = {state: step for step, state in enumerate(state for state in JobState if state not in TERMINAL)}
_SHORT = 100
_TAIL = 5


def follow(events: Iterable[EventView], console: Console, *, logs: bool = False) -> str:
    """Show ``events`` until they end; returns the last state of the experiment. ``logs`` shows log lines, too."""
    shown = _Bars(console, logs) if console.is_terminal else _Lines(console, logs)
    state = "queued"
    with shown.live:
        for event in events:
            shown.show(event)
            if event.job is None and event.state:
                state = event.state
    return state


class _Lines:
    """One line per event, but for those that say again what was said last of their job."""

    def __init__(self, console: Console, logs: bool) -> None:
        self._console = console
        self._logs = logs
        self._last: dict[str, deque[str]] = defaultdict(lambda: deque(maxlen=_TAIL))
        self._said_last: dict[str, str] = {}
        self.live: AbstractContextManager[Any] = nullcontext()

    def show(self, event: EventView) -> None:
        where = who(event)
        if event.state:
            self._state(event, where)
        elif event.metrics:
            self._say(where, bold(metrics_text(event.metrics)))
        elif event.progress:
            self._progress(event, where)
        elif event.log:
            self._last[where].extend(event.log["lines"])
            if self._logs:
                self._said(where, event.log["lines"])

    def _state(self, event: EventView, where: str) -> None:
        self._news(where, coloured(event.state or ""), note_text(event))
        self._explain(event, where)

    def _explain(self, event: EventView, where: str) -> None:
        """What a failed job said last, as far as its host lets that out; else who is asked for it."""
        if event.state != JobState.failed or not event.job:
            return
        if not self._last[where]:
            self._say(where, "| ", where_to_look(event.host or "its host", event.job))
        elif not self._logs:
            self._said(where, self._last[where])

    def _said(self, where: str, lines: Iterable[str]) -> None:
        for each in lines:
            self._say(where, "| ", each)

    def _progress(self, event: EventView, where: str) -> None:
        self._news(where, progress_text(event.progress or {}))

    def _news(self, where: str, *parts: object) -> None:
        """States are told again after a reconnection, and what is waited for may be told often."""
        text = line(*parts).plain
        if self._said_last.get(where) != text:
            self._said_last[where] = text
            self._say(where, *parts)

    def _say(self, where: str, *parts: object) -> None:
        self._console.print(line(f"  {where:<18} ", *parts), highlight=False, soft_wrap=True)


class _Bars(_Lines):
    """A bar per job; what is no state is printed above the bars."""

    def __init__(self, console: Console, logs: bool) -> None:
        super().__init__(console, logs)
        self._progress_bars = Progress(
            _Field("where"), BarColumn(20), _Field("state"), _Elapsed(), _Field("note"), console=console
        )
        self._rows: dict[str, TaskID] = {}
        self.live = self._progress_bars

    def _state(self, event: EventView, where: str) -> None:
        if event.job is None:
            if event.reason:
                super()._state(event, where)
            return
        row, state = self._row(event, where), event.state or ""
        terminal = JobState(state) in TERMINAL
        step = _STEPS.get(JobState(state), len(_STEPS))
        note = note_text(event).strip()
        ended = event.time if terminal else None
        self._progress_bars.update(
            row,
            completed=step,
            state=coloured(state),
            note=styled(note.removeprefix(": ")[:_SHORT], "dim"),
            ended=ended,
        )
        if terminal and note:
            self._say(where, coloured(state), " ", note)
            self._explain(event, where)

    def _progress(self, event: EventView, where: str) -> None:
        note = styled(progress_text(event.progress or {})[:_SHORT], "dim")
        self._progress_bars.update(self._row(event, where), note=note)

    def _row(self, event: EventView, where: str) -> TaskID:
        job = event.job or ""
        if job not in self._rows:
            fields: dict[str, Any] = {"where": line(f"  {where:<18}"), "state": Text(), "note": Text()}
            self._rows[job] = self._progress_bars.add_task(
                "", total=len(_STEPS), **fields, began=event.time, ended=None
            )
        return self._rows[job]


class _Field(ProgressColumn):
    """A field of the row as it is: never a format or markup, as TextColumn's are."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def render(self, task: Task) -> Text:
        text: Text = task.fields[self._name]
        return text


class _Elapsed(ProgressColumn):
    """How long the job has been there, by its events' own times: whoever comes to look later sees the same."""

    max_refresh = 0.5

    def render(self, task: Task) -> Text:
        return Text(elapsed(task.fields["began"], task.fields["ended"] or datetime.now(UTC)), "progress.elapsed")


def elapsed(began: datetime, until: datetime) -> str:
    """``1:02:03`` between the two; ``0:00:00`` where two machines' clocks disagree."""
    seconds = max(0, int((until - began).total_seconds()))
    return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def where_to_look(host: str, job: str) -> str:
    """What is done about a job that failed and of which no line came."""
    command = f"journalctl -u fedproc-orchestrator -o cat | grep {job}"
    no_line = f"no line of it came, as it wrote none or {host} lets none out"
    return f"{no_line}: ask its people what it said last (they find it by: {command})"


def who(event: EventView) -> str:
    """``TASK@HOST``, or ``experiment`` for an event of the whole."""
    return f"{event.task}@{event.host}" if event.job else "experiment"


def metrics_text(metrics: dict[str, Any]) -> str:
    """``round 1  loss 0.2477``: numbers with four significant digits."""
    shown = ((name, f"{value:.4g}" if isinstance(value, float) else str(value)) for name, value in metrics.items())
    return "  ".join(f"{name} {value}" for name, value in shown)


def progress_text(progress: dict[str, Any]) -> str:
    """What a job waits for, or how far it is."""
    if waits := progress.get("waiting_for"):
        return f"waits for {waits}"
    return metrics_text(progress)


def note_text(event: EventView) -> str:
    """Why; or what a job waits for in this state."""
    means = goes_on(event.state or "") if event.job and event.state != JobState.running else ""
    return reason_text(event) or (f": {means}" if means else "")


def reason_text(event: EventView) -> str:
    """Why, where an event says so."""
    if event.reason:
        return f" ({event.code}) {event.reason}" if event.code else f" {event.reason}"
    return ""

"""The picture of an experiment: one bar for each job, in the colours of its states. It stands; nothing in it moves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil

from fedproc.central.api.pages.formatting import counted, duration
from fedproc.contract.api.experiments import ExperimentView, JobView
from fedproc.contract.states import TERMINAL, JobState

WIDTH = 960
LABELS = 220
ROW = 26
MOST = 60
"""jobs that are drawn; the table beside the picture has all"""
_TICKS = 4
_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, *(3600 * hours for hours in (1, 2, 3, 6, 12, 24, 48, 168)))
"""seconds between two ticks: those that clocks have"""
_LEAST = 2.0
_ORDER = {state.value: place for place, state in enumerate(JobState)}


@dataclass(frozen=True)
class Bar:
    """One state of a job, in units of the picture."""

    state: str
    x: float
    width: float
    title: str


@dataclass(frozen=True)
class Lane:
    """One job."""

    label: str
    y: int
    bars: tuple[Bar, ...]


@dataclass(frozen=True)
class Picture:
    """All jobs over one axis of time; ``ticks`` are (x, words)."""

    lanes: tuple[Lane, ...]
    ticks: tuple[tuple[float, str], ...]
    left_out: int
    summary: str
    width: int = WIDTH
    labels: int = LABELS
    row: int = ROW
    as_of: datetime | None = None
    """of one that goes on: until when it is drawn"""

    @property
    def height(self) -> int:
        return len(self.lanes) * ROW + 24

    @property
    def states(self) -> list[str]:
        """Those that are drawn, in the order of a job's life."""
        return sorted({bar.state for lane in self.lanes for bar in lane.bars}, key=lambda state: _ORDER.get(state, 0))


def of(experiment: ExperimentView, now: datetime | None = None) -> Picture:
    """The picture of an experiment with its jobs, as things stand ``now``."""
    end = experiment.ended or now or datetime.now(UTC)
    span = max((end - experiment.created).total_seconds(), float(_TICKS))
    scale = (WIDTH - LABELS) / span
    shown = experiment.jobs[:MOST]
    lanes = tuple(
        Lane(f"{job.host} · {job.task}", place * ROW, tuple(_bars(job, experiment.created, end, scale)))
        for place, job in enumerate(shown)
    )
    step = next((step for step in _STEPS if span / step <= _TICKS), span / _TICKS)
    ticks = tuple(
        (LABELS + part * step * scale, duration(part * step) if part else "start") for part in range(ceil(span / step))
    )
    summary = f"{counted(len(experiment.jobs), 'job')} over {duration(span)}"
    as_of = None if experiment.ended else end
    return Picture(lanes, ticks, len(experiment.jobs) - len(shown), summary, as_of=as_of)


def _bars(job: JobView, begin: datetime, end: datetime, scale: float) -> Iterator[Bar]:
    """A state lasts until the next one; one that ends a job is a mark at its end."""
    times = sorted(job.times.items(), key=lambda entry: (_ORDER.get(entry[0], 0), entry[1]))
    final = {state.value for state in TERMINAL}
    for place, (state, entered) in enumerate(times):
        left = times[place + 1][1] if place + 1 < len(times) else end
        seconds = max(0.0, (left - entered).total_seconds())
        x = LABELS + min(max(0.0, (entered - begin).total_seconds()) * scale, WIDTH - LABELS - 2 * _LEAST)
        if state in final:
            yield Bar(state, x, 3 * _LEAST, f"{job.host}: {state}")
        else:
            width = min(max(seconds * scale, _LEAST), WIDTH - x)
            yield Bar(state, x, width, f"{job.host}: {state} for {duration(seconds)}")

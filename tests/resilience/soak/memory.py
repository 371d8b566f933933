"""Memory of every process over time."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import psutil
from tests.support.running import Running

_EVERY = 5.0
_MIB = 1 << 20
_ENOUGH = 12
"""samples of one life of a program, from which its growth is told"""


@dataclass(frozen=True)
class Sample:
    """Resident memory of a program, in MiB, when so many jobs had ended."""

    seconds: float
    program: str
    pid: int
    jobs: int
    resident: float


@dataclass(frozen=True)
class Line:
    """One program: all its lives, and how it grew in the longest of them."""

    program: str
    lives: int
    first: float
    median: float
    most: float
    last: float
    grown: float | None
    """MiB from the second to the last quarter of its longest life; None if none was long enough"""
    jobs: int
    """how many jobs of the whole federation ended between the middles of these quarters"""


class MemoryWatch:
    """Looks at every program of the federation while the context lasts."""

    def __init__(self, running: Running, jobs: Callable[[], int]) -> None:
        self.samples: list[Sample] = []
        self._running = running
        self._jobs = jobs
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _work(self) -> None:
        begun = time.monotonic()
        while not self._over.wait(_EVERY):
            for path in (self._running.folder / "run").glob("*.pid"):
                try:
                    pid = int(path.read_text())
                    resident = psutil.Process(pid).memory_info().rss / _MIB
                except (OSError, ValueError, psutil.Error):
                    continue  # it is being started again just now
                seconds = round(time.monotonic() - begun, 1)
                self.samples.append(Sample(seconds, path.stem, pid, self._jobs(), round(resident, 2)))

    def lines(self) -> list[Line]:
        """One line per program, by name."""
        names = sorted({sample.program for sample in self.samples})
        return [_line(name, [sample for sample in self.samples if sample.program == name]) for name in names]


def _line(program: str, samples: list[Sample]) -> Line:
    sizes = [sample.resident for sample in samples]
    pids = [sample.pid for sample in samples]
    longest = max(set(pids), key=pids.count)
    life = [sample for sample in samples if sample.pid == longest]
    grown, jobs = _growth(life)
    return Line(program, len(set(pids)), sizes[0], statistics.median(sizes), max(sizes), sizes[-1], grown, jobs)


def _growth(life: list[Sample]) -> tuple[float | None, int]:
    if len(life) < _ENOUGH:
        return None, 0
    quarter = len(life) // 4
    early, late = life[quarter : 2 * quarter], life[-quarter:]
    grown = statistics.median(s.resident for s in late) - statistics.median(s.resident for s in early)
    return round(grown, 1), late[quarter // 2].jobs - early[quarter // 2].jobs

"""Kills at random."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Self

from tests.support.running import Running

from fedproc.demo.configuration import HOSTS

_TOGETHER = 0.25
"""of the kills come whether or not the federation works again after the one before"""
_LONGEST = 120.0
PROGRAMS = (*(f"orchestrator-{host}" for host in HOSTS), "relay", "relay", "api", "api", "broker")


class Kills:
    """While the context lasts, every now and then a program is ended with SIGKILL, at whatever it is."""

    def __init__(self, running: Running, pause: float, seed: int) -> None:
        self.by_program: Counter[str] = Counter()
        self.times: list[tuple[float, str]] = []
        self._running = running
        self._pause = pause
        self._random = random.Random(seed + 1)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    @property
    def total(self) -> int:
        return sum(self.by_program.values())

    def _work(self) -> None:
        begun = time.monotonic()
        while not self._over.wait(self._random.uniform(0.1, 1.9) * self._pause):
            program = self._random.choice(PROGRAMS)
            if self._kill(program):
                self.by_program[program] += 1
                self.times.append((round(time.monotonic() - begun, 1), program))
                if self._random.random() > _TOGETHER:
                    self._let_it_work()

    def _let_it_work(self) -> None:
        until = time.monotonic() + _LONGEST
        while not self._over.wait(1) and time.monotonic() < until:
            if self._running.works():
                return

    def _kill(self, program: str) -> bool:
        """False if it was just being started again, or is not yet."""
        try:
            pid = self._running.pid(program)
            if self._is_ours(Path(f"/proc/{pid}")):
                os.kill(pid, signal.SIGKILL)
                return True
        except (OSError, ValueError):
            pass
        return False

    def _is_ours(self, process: Path) -> bool:
        """The id may be somebody else's by now."""
        known = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        return str(self._running.folder).encode() in known

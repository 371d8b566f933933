"""Jobs that flow: some under way at any time, each submitted until the centre has it, and followed to its end."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import TypeVar

import httpx
from tests.support.running import Running

from fedproc.client.api import Client
from fedproc.client.transport import ApiError
from fedproc.common.errors import FedprocError
from fedproc.contract.api.experiments import ExperimentRequest
from fedproc.contract.states import TERMINAL
from fedproc.demo.configuration import HOSTS

T = TypeVar("T")
_PATIENCE = 600.0
"""seconds until a job that does not end is left alone; the count at the end finds it"""
_PAUSE = 0.3


class Flow:
    """``wanted`` jobs of the tool ``tally``, each an experiment of its own, under an Idempotency-Key of its own."""

    def __init__(self, running: Running, wanted: int, at_once: int, until: float, seed: int) -> None:
        self.wanted = wanted
        self.hosts = list(HOSTS)
        """those that people have not heard to be gone for good"""
        self.accepted: dict[str, str] = {}
        """by key: the experiment that the centre said it made"""
        self.states: dict[str, str] = {}
        """by key: how its events said that it ended"""
        self.given_up: list[str] = []
        self.turned_away: list[str] = []
        """by key: what was refused, as its host was revoked just then"""
        self.errors: list[str] = []
        self.seconds: list[float] = []
        """how long each took, from the first try to submit it"""
        self._running = running
        self._until = until
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._next = 0
        self._workers = [threading.Thread(target=self._work, daemon=True) for _ in range(at_once)]

    def start(self) -> None:
        for worker in self._workers:
            worker.start()

    def wait(self, seconds: float) -> bool:
        """Whether all have ended within that time."""
        until = time.monotonic() + seconds
        for worker in self._workers:
            worker.join(max(0.0, until - time.monotonic()))
        return not any(worker.is_alive() for worker in self._workers)

    @property
    def ended(self) -> int:
        return len(self.states) + len(self.turned_away)

    @property
    def submitted(self) -> int:
        return self._next

    @property
    def under_way(self) -> int:
        return self._next - self.ended - len(self.given_up)

    def _take(self) -> tuple[str, ExperimentRequest] | None:
        with self._lock:
            if self._next >= self.wanted or time.monotonic() > self._until:
                return None
            self._next += 1
            host, seconds = self._random.choice(self.hosts), round(self._random.expovariate(2.5), 2)
            key = f"soak-{self._next}"
        return key, ExperimentRequest(tool="tally", hosts=[host], parameters={"seconds": min(seconds, 5)}, label=key)

    def _work(self) -> None:
        client = self._running.researcher
        while (taken := self._take()) is not None:
            key, request = taken
            begun = time.monotonic()
            try:
                self._one(client, key, request, begun + _PATIENCE)
            except TimeoutError:
                self.given_up.append(key)
            except ApiError as error:
                if request.hosts[0] in self.hosts:
                    self._fail(key, error)
                else:
                    self.turned_away.append(key)
            except Exception as error:  # noqa: BLE001 (counted and reported; the other jobs go on)
                self._fail(key, error)
            else:
                self.seconds.append(time.monotonic() - begun)

    def _fail(self, key: str, error: Exception) -> None:
        self.errors.append(f"{key}: {error!r}")
        self.given_up.append(key)

    def _one(self, client: Client, key: str, request: ExperimentRequest, until: float) -> None:
        experiment = _persist(lambda: client.run(request, key=key), until).id
        self.accepted[key] = experiment
        seen = 0

        def follow() -> str | None:
            nonlocal seen
            for event in client.events(experiment, seen):
                seen = event.id
                if event.job is None and event.state in TERMINAL:
                    return str(event.state)
            return None

        while (state := _persist(follow, until)) is None:
            _pause(until)
        self.states[key] = state


def _persist(ask: Callable[[], T], until: float) -> T:
    """What ``ask`` gives, asked again while the centre is away. Raises TimeoutError, or what the centre refuses."""
    while True:
        try:
            return ask()
        except ApiError as error:
            if error.status < 500 and error.status not in (401, 429):
                raise
        except (FedprocError, httpx.TransportError):
            pass  # the API was killed a moment ago
        _pause(until)


def _pause(until: float) -> None:
    if time.monotonic() > until:
        raise TimeoutError
    time.sleep(_PAUSE)

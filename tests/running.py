"""The demo's federation for tests, driven as its users drive it; ``conftest.py`` of a folder imports the fixtures."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fedproc.cli.client import Client
from fedproc.contract.api import EventView, ExperimentRequest, ExperimentView, JobView
from fedproc.contract.states import TERMINAL
from fedproc.demo.federation import Federation
from fedproc.demo.waiting import wait_until

ROOT = Path(__file__).parents[1]
TOOLS = Path(__file__).parent / "e2e" / "tools"


class Running:
    """A federation that runs, with a researcher's and an operator's client."""

    def __init__(self, federation: Federation, cache: Path) -> None:
        self.federation = federation
        self.cache = cache
        self.folder = federation.folder
        self.researcher = federation.client("researcher")
        self.operator = federation.client("operator")

    def start(self, tool: str, *, hosts: list[str] | None = None, datasets: list[str] | None = None, **parameters: Any):
        request = ExperimentRequest(tool=tool, hosts=hosts or [], datasets=datasets or [], parameters=parameters)
        return self.researcher.run(request)

    def end(self, experiment: ExperimentView) -> list[EventView]:
        """Its events, once it has ended."""
        return list(self.researcher.events(experiment.id))

    def jobs(self, experiment: ExperimentView) -> dict[str, JobView]:
        """Its jobs by ``TASK@HOST``."""
        return {f"{job.task}@{job.host}": job for job in self.researcher.experiment(experiment.id).jobs}

    def wait_for(self, experiment: ExperimentView, job: str, state: str, seconds: float = 30) -> None:

        def reached() -> bool:
            found = self.jobs(experiment)[job]
            assert found.state == state or found.state not in TERMINAL, f"{found.state}: {found.reason}"
            return found.state == state

        wait_until(reached, seconds, f"{job} of {experiment.id} is not {state}")

    def accepting(self, host: str) -> bool:
        found = self.researcher.host(host)
        return found.alive and found.condition == "accepting"

    @contextmanager
    def without(self, program: str) -> Iterator[None]:
        """Stop a program of the federation for a while."""
        self.federation.supervisor.stop_program(program)
        try:
            yield
        finally:
            self.federation.supervisor.start_programs([program])

    def leftovers(self, host: str) -> list[str]:
        """What jobs left in a host's folders."""
        places = [self.folder / "hosts" / host / "jobs", self.folder / "hosts" / host / "runner" / "jobs"]
        return [str(path) for place in places if place.exists() for path in place.iterdir()]


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    cache = Path(os.environ.get("DEMO_CACHE") or ROOT / ".cache")
    catalogues = [ROOT / "tool_catalog", ROOT / "docs" / "examples", TOOLS]
    federation = Federation(tmp_path_factory.mktemp("federation"), cache, catalogues)
    begun = time.monotonic()
    try:
        federation.up(lambda text: print(f"{time.monotonic() - begun:5.1f} s {text}"))
        yield Running(federation, cache)
    finally:
        federation.down()


@pytest.fixture
def researcher(running: Running) -> Client:
    return running.researcher

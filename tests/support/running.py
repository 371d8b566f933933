"""The demo's federation for tests, driven as its users drive it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from tests.support.release_before import make_policy_readable, make_settings_readable

from fedproc.common.errors import FedprocError
from fedproc.contract.api.experiments import EventView, ExperimentRequest, ExperimentView, JobView
from fedproc.contract.states import TERMINAL
from fedproc.demo.configuration import HOSTS
from fedproc.demo.federation import Federation
from fedproc.demo.polling import wait_until

ROOT = Path(__file__).parents[2]
CACHE = Path(os.environ.get("DEMO_CACHE") or ROOT / ".cache")


class Running:
    """A federation that runs, with a researcher's and an operator's client."""

    def __init__(self, federation: Federation, cache: Path) -> None:
        self.federation = federation
        self.cache = cache
        self.folder = federation.folder
        self.hosts = list(HOSTS)
        """those whose machines are there"""
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

    def wait_for(self, experiment: ExperimentView, job: str, state: str, seconds: float = 90) -> None:

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

    def pid(self, program: str) -> int:
        return int((self.folder / "run" / f"{program}.pid").read_text())

    def kill(self, program: str, *, whole: bool = True) -> None:
        """SIGKILL a program, and return when its successor works; unless ``whole``, only when the API answers again."""
        before = self.pid(program)
        os.kill(before, signal.SIGKILL)
        wait_until(lambda: self.pid(program) != before, 60, f"{program} is not started again")
        wait_until(
            self.works if whole else self.answers, 60, f"the federation does not work again after {program} was killed"
        )

    def works(self) -> bool:
        """Whether the centre is whole and every host that is there answers its own operator."""
        try:
            return self.operator.health().status == "ok" and all(map(self.site, self.hosts))
        except (FedprocError, ValueError, httpx.TransportError):
            return False

    def answers(self) -> bool:
        """Whether the API says how things are, however they are."""
        try:
            return bool(self.operator.health().status)
        except (FedprocError, ValueError, httpx.TransportError):
            return False

    def site(self, host: str, method: str = "GET", path: str = "/status", **body: Any) -> dict[str, Any]:
        """Ask an orchestrator as its own operator does."""
        transport = httpx.HTTPTransport(uds=str(self.folder / "hosts" / host / "site.sock"))
        with httpx.Client(transport=transport, base_url="http://site") as http:
            answer = http.request(method, path, json=body or None)
        assert answer.status_code == 200, answer.text
        return dict(answer.json()["result"])

    def leftovers(self, host: str) -> list[str]:
        """What jobs left in a host's folders."""
        places = [self.folder / "hosts" / host / "jobs", self.folder / "hosts" / host / "runner" / "jobs"]
        return [str(path) for place in places if place.exists() for path in place.iterdir()]


@contextmanager
def federation(
    folder: Path,
    *catalogues: Path,
    environments: dict[str, dict[str, str]] | None = None,
    pythons: dict[str, Path] | None = None,
) -> Iterator[Running]:
    """A federation in ``folder`` that offers the tools of the catalogue and of ``catalogues``.

    Where others of ``pythons`` run a host or the centre, its policy or settings are such as the release before reads.
    """
    made = Federation(folder, CACHE, [ROOT / "tool_catalog", *catalogues])
    made.environments = environments or {}
    made.pythons = pythons or {}
    begun = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - begun:5.1f} s {text}")
        if made.pythons.keys() & {"api", "relay"}:
            make_settings_readable(folder / "central.toml")
        for name in made.pythons:
            make_policy_readable(folder / f"policy-{name.removeprefix('orchestrator-')}.toml")

    try:
        try:
            made.up(say)
        except FedprocError as error:
            raise AssertionError(f"{error.message}\n{_last_words(folder / 'log')}") from error
        yield Running(made, CACHE)
    finally:
        made.down()


def _last_words(logs: Path) -> str:
    """Of each program: a test's folder is gone when somebody asks why."""
    return "\n".join(f"-- {log.name}: {log.read_text(errors='replace')[-600:]}" for log in sorted(logs.glob("*.log")))

"""Hosts and a centre of the release before work with those of this one, and are updated under their jobs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest
from tests.resilience.conftest import TALLY
from tests.resilience.once import ended_once, nothing_of
from tests.resilience.test_killed import releasing_by_hand
from tests.support.holding import stopped
from tests.support.needs import needs
from tests.support.release_before import python_of_release_before
from tests.support.running import CACHE, ROOT, Running, federation

from fedproc.client.results import fetch_results
from fedproc.contract.api.experiments import EventView, ExperimentView
from fedproc.contract.states import TERMINAL
from fedproc.demo.configuration import DATA_HOSTS
from fedproc.demo.data import COHORT_PARAMETERS, differences
from fedproc.demo.polling import wait_until

LETTER = ROOT / "tests" / "e2e" / "tools" / "letter"
OLD = {
    "old-hosts": ("runner-UB", "orchestrator-UB", "runner-BSC", "orchestrator-BSC"),
    "old-centre": ("api", "relay"),
}
"""what is of the release before, in the two federations; all else is of this one"""


class Releases:
    """The Python of each program that may be of either release; a change holds from the program's next start."""

    def __init__(self, folder: Path, before: Path, programs: tuple[str, ...]) -> None:
        self.before = before
        self.pythons = {name: folder / name for name in programs}
        folder.mkdir()
        for name in programs:
            self._use(name, before)

    def update(self, running: Running, *programs: str) -> None:
        """End these programs, of the release before, and start them as of this release."""
        for name in programs:
            assert self.is_before(running, name)
            running.federation.supervisor.stop_program(name)
            self._use(name, Path(sys.executable))
        running.federation.supervisor.start_programs(list(programs))
        wait_until(running.works, 60, f"{', '.join(programs)} do not work after the update")
        assert not any(self.is_before(running, name) for name in programs)

    def is_before(self, running: Running, program: str) -> bool:
        return psutil.Process(running.pid(program)).cmdline()[0] == str(self.before)

    def _use(self, name: str, python: Path) -> None:
        part = self.pythons[name].with_suffix(".part")
        part.write_text(f'#!/bin/sh\nexec {python} "$@"\n')
        part.chmod(0o755)
        part.replace(self.pythons[name])


@pytest.fixture(scope="module", params=OLD)
@needs("needs_federation")
def mixed(request, tmp_path_factory) -> Iterator[tuple[Running, Releases]]:
    folder = tmp_path_factory.mktemp(request.param)
    releases = Releases(folder / "pythons", python_of_release_before(CACHE), OLD[request.param])
    with federation(folder / "all", TALLY.parent, LETTER.parent, pythons=releases.pythons) as made:
        assert all(releases.is_before(made, name) for name in releases.pythons)
        yield made, releases


@pytest.fixture
def running(mixed) -> Iterator[Running]:
    yield mixed[0]
    wait_until(mixed[0].works, 60, "the test left a federation that does not work")


@pytest.fixture
def releases(mixed) -> Releases:
    return mixed[1]


def ended(running: Running, experiment: ExperimentView, state: str) -> list[EventView]:
    """Its events; it ended so, each of its jobs did so once, and none left anything behind."""
    events = running.end(experiment)
    assert events[-1].state == state, [event.reason for event in events if event.reason]
    ends = [(event.job, event.state) for event in events if event.job and event.state in TERMINAL]
    assert sorted(ends) == sorted((job.id, state) for job in experiment.jobs)
    for job in experiment.jobs:
        wait_until(partial(nothing_of, running, job.host, job.id), 20, f"job {job.id} left something behind")
    return events


def result_of(running: Running, experiment: ExperimentView, folder: Path) -> dict:
    fetch_results(running.researcher, experiment.id, folder)
    return json.loads((folder / "EUCAIM" / "result.json").read_bytes())


def test_cohort_statistics_equal_the_pooled_ones(running, tmp_path):
    datasets = [f"{host}:breast-cohort" for host in DATA_HOSTS]
    experiment = running.start("cohort-statistics", datasets=datasets, **COHORT_PARAMETERS)
    ended(running, experiment, "succeeded")
    found = differences(result_of(running, experiment, tmp_path))
    assert len(found) > 10
    assert max(found.values()) < 1e-9


def test_a_flower_training_over_connections(running, tmp_path):
    datasets = [f"{host}:wisconsin" for host in DATA_HOSTS]
    experiment = running.start("flower-logistic", datasets=datasets, rounds=4)
    events = ended(running, experiment, "succeeded")
    losses = [event.metrics["loss"] for event in events if event.metrics and "loss" in event.metrics]
    assert len(losses) == 4
    assert losses == sorted(losses, reverse=True)
    assert result_of(running, experiment, tmp_path)["rounds"][-1]["accuracy"] > 0.9


def test_cancelled_while_it_runs(running):
    experiment = running.start("host-acceptance", hosts=["UB", "FORTH"], seconds=60)
    running.wait_for(experiment, "look@UB", "running")
    running.wait_for(experiment, "look@FORTH", "running")
    running.researcher.cancel(experiment.id)
    ended(running, experiment, "cancelled")


def test_a_tool_that_fails(running):
    for host in ("UB", "FORTH"):
        experiment = running.start("host-acceptance", hosts=[host], exit_code=3)
        ended(running, experiment, "failed")
        assert running.jobs(experiment)[f"look@{host}"].code == "tool_fault.exit_code"


@pytest.mark.parametrize("mixed", ["old-hosts"], indirect=True)
def test_a_host_is_updated_under_its_jobs(running, releases, tmp_path):
    """First its orchestrator, under what runs, what waits for peers and what waits for a person; then its runner."""
    with stopped(running, "BSC"), releasing_by_hand(running, "UB"):
        gang = running.start("flower-logistic", datasets=["UB:wisconsin", "BSC:wisconsin"], rounds=2)
        asks = running.start("tally", hosts=["UB"])
        runs = running.start("tally", hosts=["UB"], seconds=20)
        running.wait_for(gang, "client@UB", "prepared")
        running.wait_for(asks, "work@UB", "awaiting_release")
        running.wait_for(runs, "work@UB", "running")
        releases.update(running, "orchestrator-UB")
        assert running.jobs(runs)["work@UB"].state == "running"
        for experiment in (asks, runs):
            running.wait_for(experiment, "work@UB", "awaiting_release")
            job = experiment.jobs[0].id
            running.site("UB", "POST", f"/releases/{job}", decision="release", reason="looked at")
    ended_once(running, asks, tmp_path / "asks")
    ended_once(running, runs, tmp_path / "runs")
    events = ended(running, gang, "succeeded")
    assert len([event for event in events if event.metrics and "loss" in event.metrics]) == 2
    releases.update(running, "runner-UB")
    ended_once(running, running.start("tally", hosts=["UB"]), tmp_path / "next")


@pytest.mark.parametrize("mixed", ["old-centre"], indirect=True)
def test_the_centre_is_updated_under_its_jobs(running, releases, tmp_path):
    """Its database and its files go on: with what has ended, what runs, and what waits for a file."""
    letter = tmp_path / "letter.txt"
    letter.write_text("dear host")
    done = running.start("tally", hosts=["BSC"])
    ended_once(running, done, tmp_path / "before")
    waits = running.start("letter", hosts=["FORTH"])
    runs = running.start("tally", hosts=["UB"], seconds=10)
    running.wait_for(runs, "work@UB", "running")
    releases.update(running, "api", "relay")
    ended_once(running, done, tmp_path / "after")
    running.researcher.put_input(waits.jobs[0].id, "letter", letter)
    ended(running, waits, "succeeded")
    fetch_results(running.researcher, waits.id, tmp_path / "answer")
    assert (tmp_path / "answer" / "FORTH" / "answer.txt").read_text() == "DEAR HOST"
    ended_once(running, runs, tmp_path / "runs")

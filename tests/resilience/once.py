"""What "the job ends once, with the right result, never run twice" means, looked at from outside."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

from tests.support.running import Running

from fedproc.client.results import fetch_results
from fedproc.contract.api.experiments import ExperimentView
from fedproc.contract.states import TERMINAL
from fedproc.demo.polling import wait_until


def ended_once(running: Running, experiment: ExperimentView, folder: Path, *, records_lost: bool = False) -> None:
    """One run, one terminal state, its result, nothing left. Log lines of a lost database may be lost with it."""
    events = running.end(experiment)
    assert events[-1].state == "succeeded", [event.reason for event in events if event.reason]
    for job in experiment.jobs:
        states = [event.state for event in events if event.job == job.id and event.state]
        assert [state for state in states if state in TERMINAL] == ["succeeded"]
        assert states.count("running") <= 1
        printed = [line for event in events if event.job == job.id and event.log for line in event.log["lines"]]
        fetch_results(running.researcher, experiment.id, folder)
        written = json.loads((folder / job.host / "tally.json").read_text())["run"]
        assert printed == [f"run {written}"] or (records_lost and not printed)
        wait_until(partial(nothing_of, running, job.host, job.id), 20, f"job {job.id} left something behind")


def nothing_of(running: Running, host: str, job: str) -> bool:
    return not [path for path in running.leftovers(host) if job in path]

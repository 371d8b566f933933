"""Any program is killed at any phase of a job: the job ends once, with its result, and is never run twice."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from tests.resilience.conftest import TALLY
from tests.resilience.once import ended_once, nothing_of
from tests.support.holding import environment_being_built, full, lost_files, stopped

from fedproc.demo.polling import wait_until

PROGRAMS = ("orchestrator-UB", "relay", "api", "broker")
PHASES = ("dispatched", "accepted", "materialising", "running", "collecting", "awaiting_release")


@contextmanager
def held(running, phase) -> Iterator[object]:
    """A job that stays in a phase for as long as the context lasts."""
    match phase:
        case "dispatched":
            with stopped(running, "UB"):
                yield started(running, phase)
        case "accepted":
            with full(running, "UB"):
                yield started(running, phase)
        case "materialising":
            with environment_being_built(running, TALLY / "requirements.lock"):
                yield started(running, phase)
        case "running":
            yield started(running, phase, seconds=12)
        case "collecting":
            experiment = started(running, "running", seconds=2)
            with lost_files(running):
                running.wait_for(experiment, "work@UB", "collecting")
                yield experiment
        case "awaiting_release":
            with releasing_by_hand(running, "UB"):
                experiment = started(running, phase)
                yield experiment
                job = experiment.jobs[0].id
                running.site("UB", "POST", f"/releases/{job}", decision="release", reason="looked at")


@contextmanager
def releasing_by_hand(running, host) -> Iterator[None]:
    """The host's policy lets no report leave by itself."""
    policy, supervisor = running.folder / f"policy-{host}.toml", running.federation.supervisor
    before = policy.read_text()
    assert 'report = "automatic"' in before
    policy.write_text(before.replace('report = "automatic"', 'report = "manual"'))
    supervisor.signal(f"orchestrator-{host}", "HUP")
    try:
        yield
    finally:
        policy.write_text(before)
        supervisor.signal(f"orchestrator-{host}", "HUP")


def started(running, phase, seconds=0):
    experiment = running.start("tally", hosts=["UB"], seconds=seconds)
    running.wait_for(experiment, "work@UB", phase)
    return experiment


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("phase", PHASES)
def test_killed(running, tmp_path, phase, program):
    with held(running, phase) as experiment:
        running.kill(program)
    ended_once(running, experiment, tmp_path)


def test_killed_the_moment_a_person_has_decided(running, tmp_path):
    """What was said is journalled before it is answered: the next orchestrator sends the outputs, once."""
    with releasing_by_hand(running, "UB"):
        experiment = started(running, "awaiting_release")
        job = experiment.jobs[0].id
        running.site("UB", "POST", f"/releases/{job}", decision="release", reason="looked at")
        running.kill("orchestrator-UB")
        ended_once(running, experiment, tmp_path)


@pytest.mark.parametrize("program", ["orchestrator-UB", "relay", "api"])
def test_killed_while_the_job_is_queued_because_the_broker_is_away(running, tmp_path, program):
    with running.without("broker"):
        wait_until(lambda: running.operator.health().status != "ok", 30, "nobody sees that the broker is away")
        experiment = started(running, "queued")
        running.kill(program, whole=False)
        assert running.jobs(experiment)["work@UB"].state == "queued"
    ended_once(running, experiment, tmp_path)


@pytest.mark.parametrize("program", ["orchestrator-UB", "orchestrator-EUCAIM", "relay", "broker"])
def test_killed_while_a_gang_waits_prepared(running, program):
    with stopped(running, "BSC"):
        experiment = running.start("flower-logistic", datasets=["UB:wisconsin", "BSC:wisconsin"], rounds=2)
        running.wait_for(experiment, "client@UB", "prepared")
        running.wait_for(experiment, "server@EUCAIM", "prepared")
        running.kill(program)
    events = running.end(experiment)
    assert events[-1].state == "succeeded", [event.reason for event in events if event.reason]
    assert len([event for event in events if event.metrics and "loss" in event.metrics]) == 2


def test_a_job_that_runs_while_its_orchestrator_is_dead_is_taken_up_not_restarted(running, tmp_path):
    experiment = started(running, "running", seconds=4)
    with running.without("orchestrator-UB"):
        pass
    ended_once(running, experiment, tmp_path)


def test_killed_between_the_start_of_a_job_and_its_journal(running, tmp_path):
    """The journal does not know that the job was started: it is found, and its folder is left to it."""
    experiment = started(running, "running", seconds=6)
    with running.without("orchestrator-UB"):
        forget_the_start(running, experiment.jobs[0].id)
    ended_once(running, experiment, tmp_path)


def test_cancelled_after_the_journal_did_not_know_of_its_start(running):
    experiment = started(running, "running", seconds=60)
    job = experiment.jobs[0].id
    with running.without("orchestrator-UB"):
        forget_the_start(running, job)
        running.researcher.cancel(experiment.id)
    assert running.end(experiment)[-1].state == "cancelled"
    wait_until(lambda: nothing_of(running, "UB", job), 20, "the cancelled job left something behind")


def forget_the_start(running, job):
    with sqlite3.connect(running.folder / "hosts" / "UB" / "journal" / "journal.sqlite") as journal:
        doc = json.loads(journal.execute("SELECT doc FROM jobs WHERE id = ?", (job,)).fetchone()[0])
        for name in ("handle", "command", "executor", "runtime", "tails"):
            doc.pop(name, None)
        doc["state"] = "prepared"
        journal.execute("UPDATE jobs SET state = 'prepared', doc = ? WHERE id = ?", (json.dumps(doc), job))


def test_the_runner_is_killed_its_jobs_are_lost_and_said_to_be(running):
    experiment = started(running, "running", seconds=60)
    running.kill("runner-UB")
    running.end(experiment)
    job = running.jobs(experiment)["work@UB"]
    assert (job.state, job.code) == ("error", "system_fault.processes_lost")
    again = running.start("tally", hosts=["UB"])
    assert running.end(again)[-1].state == "succeeded"

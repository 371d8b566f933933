"""Cancelling in each phase: every job ends once, as cancelled, and leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.holding import environment_being_built, full, lost_files, stopped

from fedproc.client.transport import ApiError
from fedproc.demo.polling import wait_until

pytestmark = pytest.mark.needs_federation

LETTER = Path(__file__).parent / "tools" / "letter"
WISCONSIN = ["UB:wisconsin", "BSC:wisconsin"]


def cancelled(running, experiment, host="UB", code="cancelled"):
    """Cancel it, and see it end so with nothing left at the host."""
    running.researcher.cancel(experiment.id)
    events = running.end(experiment)
    assert events[-1].state == "cancelled"
    ends = [event.job for event in events if event.job and event.state in ("cancelled", "succeeded", "failed", "error")]
    assert sorted(ends) == sorted({job.id for job in experiment.jobs})
    assert {job.code for job in running.jobs(experiment).values()} <= {code, "peer_failed"}
    wait_until(lambda: not running.leftovers(host), 60, "a job left something behind")


def test_queued(running):
    experiment = running.start("letter", hosts=["UB"])
    assert running.jobs(experiment)["answer@UB"].state == "queued"
    cancelled(running, experiment)


def test_dispatched_the_job_never_runs(running):
    with stopped(running, "UB"):
        experiment = running.start("host-acceptance", hosts=["UB"], seconds=60)
        running.wait_for(experiment, "look@UB", "dispatched")
        running.researcher.cancel(experiment.id)
    events = running.end(experiment)
    assert events[-1].state == "cancelled"
    assert not [event for event in events if event.state == "running" and event.job]


def test_accepted_while_it_waits_for_room(running):
    with full(running, "UB"):
        waiting = running.start("host-acceptance", hosts=["UB"], seconds=60)
        wait_until(lambda: "CPUs" in (running.jobs(waiting)["look@UB"].waiting_for or ""), 60, "it does not wait")
        assert running.jobs(waiting)["look@UB"].state == "accepted"
        running.researcher.cancel(waiting.id)
        assert running.end(waiting)[-1].state == "cancelled"
    wait_until(lambda: not running.leftovers("UB"), 60, "a job left something behind")


def test_materialising_while_another_builds_its_environment(running, tmp_path):
    letter = tmp_path / "letter.txt"
    letter.write_text("x")
    with environment_being_built(running, LETTER / "requirements.lock"):
        experiment = running.start("letter", hosts=["UB"])
        running.researcher.put_input(experiment.jobs[0].id, "letter", letter)
        running.wait_for(experiment, "answer@UB", "materialising")
        cancelled(running, experiment)


def test_prepared_while_it_waits_for_its_peers(running):
    with stopped(running, "BSC"):
        experiment = running.start("flower-logistic", datasets=WISCONSIN)
        running.wait_for(experiment, "client@UB", "prepared")
        running.researcher.cancel(experiment.id)
        running.wait_for(experiment, "client@UB", "cancelled")
    assert running.end(experiment)[-1].state == "cancelled"
    wait_until(lambda: not running.leftovers("UB") and not running.leftovers("EUCAIM"), 60, "a job left something")


def test_running(running):
    experiment = running.start("host-acceptance", hosts=["UB", "FORTH"], seconds=60)
    running.wait_for(experiment, "look@UB", "running")
    running.wait_for(experiment, "look@FORTH", "running")
    cancelled(running, experiment)
    wait_until(lambda: not running.leftovers("FORTH"), 60, "a job left something behind")


def test_collecting_while_its_output_cannot_be_uploaded(running):
    experiment = running.start("host-acceptance", hosts=["UB"], seconds=2)
    running.wait_for(experiment, "look@UB", "running")
    with lost_files(running):
        running.wait_for(experiment, "look@UB", "collecting")
        cancelled(running, experiment)


def test_a_finished_experiment_stays_as_it_is(running):
    experiment = running.start("host-acceptance", hosts=["UB"])
    assert running.end(experiment)[-1].state == "succeeded"
    with pytest.raises(ApiError, match="already ended as succeeded"):
        running.researcher.cancel(experiment.id)

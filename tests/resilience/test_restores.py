"""What the centre, a host or the broker remembers is put back or lost, with jobs under way: each job ends once."""

from __future__ import annotations

import shutil
import sqlite3

import pytest
from tests.resilience.once import ended_once, nothing_of
from tests.support.holding import stopped

from fedproc.client.transport import ApiError
from fedproc.contract.states import TERMINAL
from fedproc.demo.polling import wait_until


def started(running, host="UB", seconds=0, phase="running"):
    experiment = running.start("tally", hosts=[host], seconds=seconds)
    running.wait_for(experiment, f"work@{host}", phase)
    return experiment


def test_the_central_database_is_put_back_to_an_older_copy(running, tmp_path):
    database = running.folder / "central" / "central.sqlite"
    known = started(running, seconds=25)
    ended = started(running, "BSC", seconds=3)
    copy = tmp_path / "copy.sqlite"
    with sqlite3.connect(database) as source, sqlite3.connect(copy) as target:
        source.backup(target)
    assert running.end(ended)[-1].state == "succeeded"
    forgotten = started(running, "FORTH", seconds=60)
    with running.without("api"), running.without("relay"):
        for path in database.parent.glob("central.sqlite*"):
            path.unlink()
        shutil.copy(copy, database)
    wait_until(running.works, 30, "the centre does not work")
    with pytest.raises(ApiError, match="no experiment"):
        running.researcher.experiment(forgotten.id)
    job = forgotten.jobs[0].id
    wait_until(lambda: nothing_of(running, "FORTH", job), 60, "a job that the centre has forgotten goes on")
    ended_once(running, known, tmp_path / "known", records_lost=True)
    events = running.end(ended)
    assert [event.state for event in events if event.state in TERMINAL and event.job] == ["error"]
    assert "is not here as its host released it" in running.jobs(ended)["work@BSC"].reason


def test_a_host_loses_its_journal(running, tmp_path):
    lost = started(running, seconds=60)
    elsewhere = started(running, "BSC", seconds=10)
    with running.without("orchestrator-UB"):
        shutil.rmtree(running.folder / "hosts" / "UB" / "journal")
    assert running.end(lost)[-1].state == "error"
    job = running.jobs(lost)["work@UB"]
    assert (job.state, job.code) == ("error", "journal_lost")
    assert "journal" in job.reason
    wait_until(lambda: nothing_of(running, "UB", job.id), 30, "the lost job goes on")
    ended_once(running, elsewhere, tmp_path / "elsewhere")
    ended_once(running, running.start("tally", hosts=["UB"]), tmp_path / "next")


def test_the_broker_loses_its_disk(running, tmp_path):
    under_way = started(running, seconds=20)
    with stopped(running, "BSC"):
        in_the_queue = started(running, "BSC", phase="dispatched")
        with running.without("broker"):
            shutil.rmtree(running.folder / "broker" / "data")
    wait_until(running.works, 60, "the federation does not work again")
    ended_once(running, under_way, tmp_path / "under_way")
    ended_once(running, in_the_queue, tmp_path / "in_the_queue")

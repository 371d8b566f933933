"""From token to result, by hand as far as a program can: both experiments, uploads, what a host says."""

from __future__ import annotations

import json

import pytest

from fedproc.client.results import fetch_results
from fedproc.demo.data import COHORT_PARAMETERS, differences
from fedproc.demo.polling import wait_until

pytestmark = pytest.mark.needs_federation

DATA_HOSTS = ("UB", "BSC", "FORTH")


def said(events):
    return [f"{event.task}@{event.host} {event.state} {event.reason}" for event in events if event.reason]


def test_cohort_statistics_equal_the_pooled_ones(running, tmp_path):
    datasets = [f"{host}:breast-cohort" for host in DATA_HOSTS]
    experiment = running.start("cohort-statistics", datasets=datasets, **COHORT_PARAMETERS)
    events = running.end(experiment)
    assert events[-1].state == "succeeded", said(events)
    fetch_results(running.researcher, experiment.id, tmp_path)
    found = differences(json.loads((tmp_path / "EUCAIM" / "result.json").read_bytes()))
    assert len(found) > 10
    assert max(found.values()) < 1e-9


def test_a_flower_training_over_connections(running, tmp_path):
    datasets = [f"{host}:wisconsin" for host in DATA_HOSTS]
    experiment = running.start("flower-logistic", datasets=datasets, rounds=4)
    events = running.end(experiment)
    assert events[-1].state == "succeeded", said(events)
    losses = [event.metrics["loss"] for event in events if event.metrics and "loss" in event.metrics]
    assert len(losses) == 4
    assert losses == sorted(losses, reverse=True)
    for job in running.jobs(experiment).values():
        assert sum(use.sent for use in job.connections) > 1000, job
    fetch_results(running.researcher, experiment.id, tmp_path)
    assert json.loads((tmp_path / "EUCAIM" / "result.json").read_bytes())["rounds"][-1]["accuracy"] > 0.9


def test_a_job_finds_from_inside_that_all_is_refused(running, tmp_path):
    places = [running.researcher.url.removeprefix("http://"), "1.1.1.1:53", "127.0.0.1:22"]
    experiment = running.start("host-acceptance", hosts=["UB", "BSC"], probe_addresses=places)
    assert running.end(experiment)[-1].state == "succeeded"
    fetch_results(running.researcher, experiment.id, tmp_path)
    for host in ("UB", "BSC"):
        report = json.loads((tmp_path / host / "report.json").read_bytes())
        unexpected = [finding for finding in report["findings"] if not finding["ok"]]
        assert not unexpected
        assert len(report["findings"]) > 30


def test_a_job_waits_for_its_upload(running, tmp_path):
    letter = tmp_path / "letter.txt"
    letter.write_text("dear host")
    experiment = running.start("letter", hosts=["UB"])
    (job,) = experiment.jobs
    assert running.researcher.experiment(experiment.id).jobs[0].state == "queued"
    running.researcher.put_input(job.id, "letter", letter)
    assert running.end(experiment)[-1].state == "succeeded"
    fetch_results(running.researcher, experiment.id, tmp_path / "out")
    assert (tmp_path / "out" / "UB" / "answer.txt").read_text() == "DEAR HOST"


def test_a_tool_that_says_it_failed_has_failed(running, tmp_path):
    letter = tmp_path / "letter.txt"
    letter.write_text("x")
    experiment = running.start("letter", hosts=["UB"], status="no_ink")
    running.researcher.put_input(experiment.jobs[0].id, "letter", letter)
    running.end(experiment)
    job = running.jobs(experiment)["answer@UB"]
    assert (job.state, job.code) == ("failed", "tool_fault.status")
    assert "no_ink" not in job.reason
    assert "no_ink" in (running.folder / "log" / "orchestrator-UB.log").read_text()


def test_a_small_count_never_leaves(running):
    """It is not put before a person either; what is said is the same whatever was found, and the log has the rule."""
    experiment = running.start("census", hosts=["UB"], persons=3)
    assert running.end(experiment)[-1].state == "refused"
    job = running.jobs(experiment)["count@UB"]
    assert (job.state, job.code) == ("refused", "release.withheld")
    assert not {"counts", "persons", "3", "5"} & set(job.reason.split())
    assert "persons.floor" in (running.folder / "log" / "orchestrator-UB.log").read_text()


def test_a_count_that_is_large_enough_leaves(running, tmp_path):
    experiment = running.start("census", hosts=["UB"], persons=5)
    assert running.end(experiment)[-1].state == "succeeded"
    fetch_results(running.researcher, experiment.id, tmp_path)
    assert json.loads((tmp_path / "UB" / "counts.json").read_bytes()) == {"persons": 5}


def test_what_a_host_tells_of_itself(running):
    host = running.researcher.host("UB")
    assert host.capacity.cpus == 4
    assert host.executors == ["sandbox"]
    assert {tool.id for tool in host.tools} >= {"cohort-statistics", "flower-logistic", "host-acceptance"}
    assert set(host.datasets) == {"UB:breast-cohort", "UB:wisconsin", "UB:synthetic-lesions", "UB:clinical"}


def test_health_names_each_part(running):
    health = running.operator.health()
    assert (health.status, health.database, health.broker, health.issuer, health.relay) == ("ok",) * 5
    assert set(health.hosts) >= {"UB", "BSC", "FORTH", "EUCAIM"}
    with running.without("relay"):
        wait_until(lambda: running.operator.health().status == "degraded", 30, "nobody sees that the relay is away")
        assert "fedproc relay" in running.operator.health().relay
    wait_until(lambda: running.operator.health().status == "ok", 30, "nobody sees that the relay is back")

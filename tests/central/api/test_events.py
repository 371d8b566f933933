"""The live event stream, and where a client that was cut off goes on."""

from __future__ import annotations

import queue
import threading
from itertools import islice
from typing import Any

import httpx
import pytest
from tests.support.central_api import Federation, problem, streamed

pytestmark = pytest.mark.server

ONE = {"datasets": ["UB:cohort"]}


def _whole_run(federation: Federation, rosa: httpx.Client) -> str:
    """An experiment that was run and has ended; its id."""
    books = federation.books
    books.dispatch()
    experiment: str = federation.start(rosa, **ONE)["id"]
    books.dispatch()
    local = books.job_on(experiment, "UB")
    books.report(local.id, "accepted", waiting_for="2 CPUs")
    books.say(local.id, "metrics", 1, metrics={"rows": 7})
    books.say(local.id, "stdout", 1, lines=("counting",))
    books.report(local.id, "running")
    books.report(local.id, "succeeded")
    books.dispatch()
    books.bring(experiment, "succeeded", task="total")
    return experiment


def test_a_whole_run_in_order(federation: Federation, rosa: httpx.Client) -> None:
    experiment = _whole_run(federation, rosa)
    with streamed(rosa, f"/experiments/{experiment}/events") as events:
        seen = list(events)
    told = [(e.get("task"), e["state"]) for e in seen if "state" in e]
    assert told == [
        ("local", "dispatched"), (None, "running"), ("local", "accepted"), ("local", "running"),
        ("local", "succeeded"), ("total", "dispatched"), ("total", "succeeded"), (None, "succeeded"),
    ]  # fmt: skip
    assert [e["metrics"] for e in seen if "metrics" in e] == [{"rows": 7}]
    assert [e["progress"] for e in seen if "progress" in e] == [{"waiting_for": "2 CPUs"}]
    assert [e["log"] for e in seen if "log" in e] == [{"stream": "stdout", "lines": ["counting"]}]
    ids = [int(e["sse"]) for e in seen]
    assert ids == sorted(set(ids))
    assert all(e["id"] == int(e["sse"]) and e["experiment"] == experiment and e["time"] for e in seen)
    of_a_job = [e for e in seen if "job" in e]
    assert all(e["host"] and e["task"] for e in of_a_job)


def test_events_come_while_it_runs(federation: Federation, rosa: httpx.Client) -> None:
    books = federation.books
    books.dispatch()
    experiment = federation.start(rosa, **ONE)["id"]
    come: queue.Queue[dict[str, Any] | None] = queue.Queue()

    def listen() -> None:
        with federation.user() as client, streamed(client, f"/experiments/{experiment}/events") as events:
            for event in events:
                come.put(event)
        come.put(None)

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    books.dispatch()
    assert _next(come)["state"] == "dispatched"
    assert _next(come)["state"] == "running"
    job = books.job_on(experiment, "UB").id
    for state in ("accepted", "materialising", "prepared", "running"):
        books.report(job, state)
        assert _next(come)["state"] == state
    books.say(job, "metrics", 1, metrics={"round": 1, "loss": 0.5})
    assert _next(come)["metrics"] == {"round": 1, "loss": 0.5}
    rosa.post(f"/experiments/{experiment}/cancel")
    assert (_next(come)["task"], books.job(job).state) == ("total", "running")
    books.dispatch()
    books.report(job, "cancelled")
    assert _next(come)["state"] == "cancelled"
    last = _next(come)
    assert (last["state"], last.get("job")) == ("cancelled", None)
    assert come.get(timeout=60) is None, "the stream ends with the experiment"
    listener.join(60)


def _next(come: queue.Queue[dict[str, Any] | None]) -> dict[str, Any]:
    event = come.get(timeout=60)
    assert event is not None, "the stream ended too early"
    return event


@pytest.mark.parametrize("cut_after", [1, 3, 7])
def test_resumed_it_repeats_nothing_and_misses_nothing(
    federation: Federation, rosa: httpx.Client, cut_after: int
) -> None:
    path = f"/experiments/{_whole_run(federation, rosa)}/events"
    with streamed(rosa, path) as events:
        whole = list(events)
    with streamed(rosa, path) as events:
        first = list(islice(events, cut_after))
    with streamed(rosa, path, **{"Last-Event-ID": first[-1]["sse"]}) as events:
        rest = list(events)
    assert first + rest == whole
    with streamed(rosa, f"{path}?after={first[-1]['sse']}") as events:
        assert list(events) == rest


def test_when_everything_was_sent_the_client_is_told_to_stay_away(federation: Federation, rosa: httpx.Client) -> None:
    path = f"/experiments/{_whole_run(federation, rosa)}/events"
    with streamed(rosa, path) as events:
        last = list(events)[-1]["sse"]
    answer = rosa.get(path, headers={"Last-Event-ID": last})
    assert (answer.status_code, answer.content) == (204, b"")


@pytest.mark.parametrize("value", ["x", "-1", "1" * 19, "1; DROP", "1.5"])
def test_an_id_that_no_event_has(federation: Federation, rosa: httpx.Client, value: str) -> None:
    experiment = federation.start(rosa, **ONE)["id"]
    problem(rosa.get(f"/experiments/{experiment}/events", headers={"Last-Event-ID": value}), 422)


def test_many_events_come_in_one_piece_each(federation: Federation, rosa: httpx.Client) -> None:
    books = federation.books
    books.dispatch()
    experiment = federation.start(rosa, **ONE)["id"]
    books.dispatch()
    job = books.job_on(experiment, "UB")
    records = [books.hosts.record(job, "metrics", number, metrics={"n": number}) for number in range(1, 1201)]
    books.take(*(("UB", books.hosts.seal("UB", record)) for record in records))
    rosa.post(f"/experiments/{experiment}/cancel")
    books.dispatch()
    books.bring(experiment, "cancelled")
    with streamed(rosa, f"/experiments/{experiment}/events") as events:
        seen = list(events)
    assert [e["metrics"]["n"] for e in seen if "metrics" in e] == list(range(1, 1201))
    assert seen[-1]["state"] == "cancelled"


def test_a_stopping_api_ends_its_streams(lone: Federation) -> None:
    with lone.user() as rosa:
        experiment = lone.start(rosa, **ONE)["id"]
        lone.books.dispatch()
        with streamed(rosa, f"/experiments/{experiment}/events") as events:
            assert next(events)["state"] == "dispatched"
            lone.app.state.fedproc.streams.end()
            assert [event["state"] for event in events] == ["running"]

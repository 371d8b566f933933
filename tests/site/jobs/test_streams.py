"""What a job prints is sent to the centre once, whenever the sending is ended."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import strategies as st
from structlog.testing import capture_logs
from tests.support.examples import examples

from fedproc.contract.tool.metrics import MetricDecl
from fedproc.site.jobs.metrics import MetricFilter
from fedproc.site.jobs.streams import Streams
from fedproc.site.jobs.workspace import Workspace
from fedproc.site.policy.policy_file import Policy

DECLARED = ("loss", "up", "down", "n", "big", "huge", "yes", "value", "other")


class Executor:
    """Standard error takes for ever to read, until ``slow`` is taken off it."""

    slow = True

    async def logs(self, handle: dict[str, Any], stream: str, *, offset: int = 0) -> Any:
        if stream == "stderr" and self.slow:
            await asyncio.sleep(3600)
        yield b"hello\n"[offset:]


def streams_of(executor: Any, workspace: Any = None, *, metrics: bool = False) -> tuple[Streams, list[Any]]:
    """Those of one job, and what they send: filled as it is sent."""
    policy = Policy(metrics=metrics, logs=not metrics)
    settings, journal = SimpleNamespace(host="UB"), SimpleNamespace(epoch="one")
    services: Any = SimpleNamespace(policy=policy, settings=settings, journal=journal, executor=executor)
    order = SimpleNamespace(experiment="e-" + "0" * 26)
    record: Any = SimpleNamespace(job="j-" + "0" * 26, order=order, tails={}, streams=None)
    sent: list[Any] = []
    declared = [MetricDecl(name=name) for name in DECLARED]
    save = lambda saved: sent.extend(json.loads(body) for _, body in saved)  # noqa: E731
    return Streams(services, record, workspace, save, declared), sent


async def test_only_streams_leave_that_the_log_has() -> None:
    streams, _ = streams_of(Executor())
    assert streams.names == ("stdout", "stderr")
    streams._record.streams = ("stdout", "metrics")
    assert streams.names == ("stdout",), "a policy that allows more since adds none, one that allows less takes away"


async def test_what_was_read_when_the_reading_was_ended_is_sent_and_sent_once() -> None:
    executor = Executor()
    streams, sent = streams_of(executor)
    reading = asyncio.create_task(streams.catch_up({}))
    await asyncio.sleep(0.01)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    executor.slow = False
    await streams.catch_up({})
    assert [(one["stream"], one["sequence"], one["lines"]) for one in sent] == [
        ("stdout", 1, ["hello"]),
        ("stderr", 1, ["hello"]),
    ]


class Printed:
    """An executor whose job has printed this, and no more."""

    def __init__(self, out: bytes) -> None:
        self.out = out

    async def logs(self, handle: dict[str, Any], stream: str, *, offset: int = 0) -> Any:
        yield self.out[offset:] if stream == "stdout" else b""


@pytest.mark.slow
async def test_the_last_line_needs_no_end_and_no_line_is_too_late() -> None:
    printed = b"".join(b"line %d\n" % number for number in range(100_000)) + b"ValueError: the cause"
    streams, sent = streams_of(Printed(printed))
    await streams.catch_up({})
    assert sent[-1]["lines"][-1] != "ValueError: the cause"
    await streams.finish({})
    lines = [line for one in sent for line in one["lines"]]
    assert len(lines) == 100_001
    assert lines[-1] == "ValueError: the cause"
    await streams.finish({})
    assert len([line for one in sent for line in one["lines"]]) == 100_001


@pytest.mark.slow
@given(st.binary(max_size=300))
@example(b"M\xfcller\x00\x1b[2J\xc2\x85\xe2\x80\xa8\xed\xa0\x80")
def test_whatever_is_printed_can_be_sent_and_shown(printed: bytes) -> None:
    streams, sent = streams_of(Printed(printed))
    asyncio.run(streams.finish({}))
    for line in (line for one in sent for line in one["lines"]):
        assert line.encode().decode() == line
        assert not {"\x00", "\x1b", "\x85", "\u2028"} & set(line)


@pytest.mark.parametrize(
    ("line", "metrics"),
    [
        (b'{"loss": NaN, "up": Infinity, "down": -Infinity, "n": 3}', {"n": 3}),
        (b'{"big": 1e999, "huge": ' + b"9" * 100 + b', "n": ' + b"1" + b"0" * 400 + b"}", {"huge": 1e100}),
        (b"[" * 4000, None),
        (b'{"a": ' * 600, None),
        (b'{"half": "\\ud800", "nul\\u0000": 1, "\\ud800": 2}', None),
        (b"\xff\xfe", None),
        (b'{"yes": true, "loss": "fold 1", "n": 0.123456789, "undeclared": 1}', {"n": 0.1235}),
        (b'{"loss": 123456, "n": 98765.4, "other": {"n": 1}, "big": [1]}', {"loss": 123500, "n": 98770.0}),
    ],
    ids=["no number", "too large", "deep list", "deep object", "no text", "no UTF-8", "undeclared", "rounded"],
)  # fmt: skip
async def test_whatever_is_measured_ends_no_job(line: bytes, metrics: Any, tmp_path: Path) -> None:
    assert await sent_metrics(tmp_path, line) == ([metrics] if metrics else [])


@pytest.mark.slow
@given(st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(), st.lists))
@examples(100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_value_of_a_metric_can_be_sent(tmp_path: Path, value: Any) -> None:
    line = json.dumps({"value": value, "other": 1}).encode()
    (found,) = asyncio.run(sent_metrics(tmp_path, line)) or [{"other": 1}]
    assert found["other"] == 1


async def sent_metrics(folder: Path, line: bytes) -> list[Any]:
    workspace = Workspace(folder, "j-1")
    workspace.work.mkdir(parents=True, exist_ok=True)
    (workspace.work / "metrics.jsonl").write_bytes(line + b"\n")
    streams, sent = streams_of(None, workspace, metrics=True)
    await streams.finish({})
    return [one["metrics"] for one in sent]


def passed(declared: tuple[str, ...], lines: list[str], policy: Policy, seconds: Any = lambda: 0.0) -> list[Any]:
    only = MetricFilter([MetricDecl(name=name) for name in declared], seconds)
    found = only.passed([line.encode() for line in lines], policy, 0)
    return found + only.ending(policy, len(found))


def test_no_more_lines_leave_than_the_policy_has_for_a_job() -> None:
    lines = [json.dumps({"n": number}) for number in range(10)]
    assert passed(("n",), lines, Policy(metrics_per_job=3)) == [{"n": 0}, {"n": 1}, {"n": 9}]
    assert passed(("n",), lines, Policy(metrics_per_job=0)) == []


def test_no_more_lines_leave_in_a_minute_than_the_policy_says() -> None:
    clock = iter([0.0, *(second / 10 for second in range(1000))])  # ten lines a second, for a minute and more
    lines = [json.dumps({"n": number}) for number in range(1000)]
    assert 60 + 60 <= len(passed(("n",), lines, Policy(metrics_per_minute=60), lambda: next(clock))) <= 60 + 101


@pytest.mark.parametrize("lines", [60, 300, 1000])
async def test_last_line_leaves_however_fast_they_came(tmp_path: Path, lines: int) -> None:
    written = b"\n".join(json.dumps({"n": number}).encode() for number in range(1, lines + 1))
    with capture_logs() as told:
        sent = await sent_metrics(tmp_path, written)
    assert sent[-1] == {"n": lines}
    kept_back = sum(entry["lines_beyond_the_limits"] for entry in told if entry["event"] == "metrics.withheld")
    assert len(sent) + kept_back == lines


async def test_what_is_kept_back_is_told_at_the_host_once(tmp_path: Path) -> None:
    with capture_logs() as told:
        assert await sent_metrics(tmp_path, b'{"patient": "Maria", "\\u001bodd": 2, "loss": 1}\n{"patient": 2}') == [
            {"loss": 1}
        ]
    (withheld,) = [entry for entry in told if entry["event"] == "metrics.withheld"]
    assert (withheld["undeclared"], withheld["names"]) == (3, ["patient", "\\x1bodd"])
    assert "Maria" not in str(told)


async def test_a_task_that_declares_no_metrics_sends_none(tmp_path: Path) -> None:
    services: Any = SimpleNamespace(policy=Policy(), settings=SimpleNamespace(host="UB"))
    streams = Streams(
        services, SimpleNamespace(job="j-1", tails={}, streams=None), Workspace(tmp_path, "j-1"), lambda _: None
    )  # type: ignore[arg-type]
    assert "metrics" not in streams.names

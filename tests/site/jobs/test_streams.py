"""What a job prints is sent to the centre once, whenever the sending is ended."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from fedproc.site.jobs.streams import Streams
from fedproc.site.jobs.workspace import Workspace


class Executor:
    """Standard error takes for ever to read, until ``slow`` is taken off it."""

    slow = True

    async def logs(self, handle: dict[str, Any], stream: str, *, offset: int = 0) -> Any:
        if stream == "stderr" and self.slow:
            await asyncio.sleep(3600)
        yield b"hello\n"[offset:]


def streams_of(executor: Any, workspace: Any = None, *, metrics: bool = False) -> tuple[Streams, list[Any]]:
    """Those of one job, and what they send: filled as it is sent."""
    policy = SimpleNamespace(metrics=metrics, logs=not metrics)
    settings, journal = SimpleNamespace(host="UB"), SimpleNamespace(epoch="one")
    services: Any = SimpleNamespace(policy=policy, settings=settings, journal=journal, executor=executor)
    order = SimpleNamespace(experiment="e-" + "0" * 26)
    record: Any = SimpleNamespace(job="j-" + "0" * 26, order=order, tails={})
    sent: list[Any] = []
    return Streams(services, record, workspace, lambda saved: sent.extend(json.loads(body) for _, body in saved)), sent


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
        (b'{"loss": NaN, "up": Infinity, "down": -Infinity, "n": 3}',
         {"loss": "nan", "up": "inf", "down": "-inf", "n": 3}),
        (b'{"big": 1e999, "huge": ' + b"9" * 100 + b"}", {"big": "inf", "huge": "9" * 100}),
        (b"[" * 4000, None),
        (b'{"a": ' * 600, None),
        (b'{"half": "\\ud800", "nul\\u0000": 1}', {"half": "\\ud800", "nul\\x00": 1}),
        (b"\xff\xfe", None),
        (b'{"yes": true, "text": "fold 1"}', {"yes": True, "text": "fold 1"}),
    ],
    ids=["no number", "too large", "deep list", "deep object", "no text", "no UTF-8", "as it should be"],
)  # fmt: skip
async def test_whatever_is_measured_ends_no_job(line: bytes, metrics: Any, tmp_path: Path) -> None:
    assert await sent_metrics(tmp_path, line) == ([metrics] if metrics else [])


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(), st.lists))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
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

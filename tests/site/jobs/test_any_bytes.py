"""What a tool writes and names is bytes: its readers say it escaped, or say that the tool failed and why."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.examples import examples

from fedproc.common.errors import ToolFaultError
from fedproc.contract.ids import is_safe_path
from fedproc.contract.tool.metrics import MetricDecl
from fedproc.contract.tool.task import OutputDecl
from fedproc.contract.wire.messages import Record
from fedproc.site.jobs.log_matcher import LogMatcher
from fedproc.site.jobs.streams import Streams
from fedproc.site.jobs.workspace import Workspace
from fedproc.site.policy.policy_file import Policy

NAMES = st.binary(min_size=1, max_size=40).filter(lambda name: not set(name) & {0, 47} and name not in (b".", b".."))
LINES = st.one_of(st.binary(), st.sampled_from([b"[" * 4000, b'{"a":' * 800, b'{"\\ud800": "\\u0000", "b": NaN}']))


def streams_of(folder: Path, printed: bytes = b"", *, metrics: bool = False) -> tuple[Streams, list[tuple[str, str]]]:
    """The streams of a job that has printed so much to standard output, and what they save."""

    async def logs(_handle: Any, stream: str, *, offset: int = 0) -> Any:
        yield printed[offset:] if stream == "stdout" else b""

    policy = Policy(metrics=metrics, logs=not metrics)
    services: Any = SimpleNamespace(
        policy=policy,
        settings=SimpleNamespace(host="UB"),
        journal=SimpleNamespace(epoch="one"),
        executor=SimpleNamespace(logs=logs),
    )
    order = SimpleNamespace(experiment="e-" + "0" * 26)
    record: Any = SimpleNamespace(job="j-" + "0" * 26, order=order, tails={}, streams=None)
    saved: list[tuple[str, str]] = []
    declared = [MetricDecl(name=name) for name in ("loss", "step", "n", "b")]
    return Streams(services, record, Workspace(folder, "job"), saved.extend, declared), saved


def sent_metrics(folder: Path, content: bytes) -> list[dict[str, Any] | None]:
    work = folder / "job" / "work"
    work.mkdir(parents=True, exist_ok=True)
    (work / "metrics.jsonl").write_bytes(content)
    streams, saved = streams_of(folder, metrics=True)
    asyncio.run(streams.finish({}))
    return [Record.model_validate_json(body).metrics for _, body in saved]


def test_last_line_without_newline_is_sent_when_the_step_has_ended(tmp_path: Path) -> None:
    streams, saved = streams_of(tmp_path, b"first\nthe cause")
    asyncio.run(streams.finish({}))
    assert [line for _, body in saved for line in json.loads(body)["lines"]] == ["first", "the cause"]


@pytest.mark.slow
def test_all_that_was_printed_before_the_exit_is_sent(tmp_path: Path) -> None:
    printed = b"".join(b"line %06d\n" % number for number in range(60_000))
    streams, saved = streams_of(tmp_path, printed)
    asyncio.run(streams.finish({}))
    assert [line for _, body in saved for line in json.loads(body)["lines"]] == printed.decode().splitlines()


def test_next_step_is_read_from_its_beginning(tmp_path: Path) -> None:
    streams, saved = streams_of(tmp_path, b"hello\n")
    asyncio.run(streams.finish({}))
    streams.restart()
    asyncio.run(streams.finish({}))
    assert [json.loads(body)["sequence"] for _, body in saved] == [1, 2]


def test_what_is_no_number_stays_and_the_rest_of_the_metrics_goes(tmp_path: Path) -> None:
    content = b'{"loss": NaN, "step": 1}\n' + b"[" * 4000 + b'\n{"loss": -1e999, "n": 1' + b"0" * 40 + b"}"
    assert sent_metrics(tmp_path, content) == [{"step": 1}, {"n": 1e40}]


@pytest.mark.slow
@examples(100)
@given(lines=st.lists(LINES, max_size=4))
def test_metrics_of_any_bytes_can_be_sent_and_read(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes]
) -> None:
    for metrics in sent_metrics(tmp_path_factory.mktemp("job"), b"\n".join(lines)):
        json.dumps(metrics, allow_nan=False).encode()


@pytest.mark.slow
@examples(100)
@given(printed=st.lists(LINES, max_size=4))
def test_output_of_any_bytes_can_be_sent_and_read(printed: list[bytes]) -> None:
    streams, saved = streams_of(Path(), b"\n".join(printed))
    asyncio.run(streams.finish({}))
    for _, body in saved:
        assert all("\0" not in line for line in Record.model_validate_json(body).lines)


@pytest.mark.slow
@examples(100)
@given(names=st.lists(NAMES, max_size=3, unique=True))
def test_file_names_of_any_bytes_are_sealed_or_fail_the_tool(
    tmp_path_factory: pytest.TempPathFactory, names: list[bytes]
) -> None:
    workspace = Workspace(tmp_path_factory.mktemp("jobs"), "job")
    workspace.make({}, {})
    folder = workspace.work / "output" / "all"
    folder.mkdir()
    for name in names:
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_bytes(b"x")
    try:
        sealed = workspace.seal([output_all()], workspace.sealed)
    except ToolFaultError as error:
        assert error.code == "tool_fault.output_name"
        error.message.encode()
    else:
        assert len(sealed) == len(names)
        json.dumps(sealed, ensure_ascii=False).encode()
        assert all(map(is_safe_path, sealed))


@pytest.mark.process
def test_folders_deeper_than_a_path_fail_the_tool(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, "job")
    workspace.make({}, {})
    here = os.open(workspace.work / "output", os.O_RDONLY)
    for name in ("all", *["d"] * 1200):
        os.mkdir(name, dir_fd=here)
        below = os.open(name, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    with pytest.raises(ToolFaultError, match="no acceptable name"):
        workspace.seal([output_all()], workspace.sealed)
    workspace.remove()


def output_all() -> OutputDecl:
    return OutputDecl(name="all", path="all", folder=True, disclosure="aggregate")


@examples(60)
@given(content=st.one_of(st.binary(), st.just(b"[" * 100_000)))
def test_status_file_of_any_bytes_is_read_or_fails_the_tool(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    workspace = Workspace(tmp_path_factory.mktemp("jobs"), "job")
    workspace.make({}, {})
    (workspace.work / "output" / "status.json").write_bytes(content)
    try:
        workspace.probe_result("status.json")
    except ToolFaultError as error:
        assert error.code == "tool_fault.status"


async def read_of(text: list[bytes], *, offset: int) -> Any:
    yield b"".join(text)[offset:]


@pytest.mark.process
async def test_ready_log_is_found_in_what_is_new() -> None:
    text = [b"starting\nlisten"]
    matcher = LogMatcher("^listening on [0-9]+$", lambda *, offset: read_of(text, offset=offset))
    assert not await matcher.matches()
    text.append(b"ing on 80\n")
    assert await matcher.matches()


@pytest.mark.process
async def test_ready_log_that_takes_for_ever_fails_the_tool_and_stops_nothing_else() -> None:
    matcher = LogMatcher("(a+)+$", lambda *, offset: read_of([b"a" * 60 + b"b"], offset=offset), seconds=1.0)
    trying = asyncio.create_task(matcher.matches())
    async with asyncio.timeout(0.9):
        for _ in range(5):
            await asyncio.sleep(0.05)
    with pytest.raises(ToolFaultError, match="longer than 1 s"):
        await trying


@pytest.mark.process
async def test_ready_log_that_is_no_expression_fails_the_tool() -> None:
    matcher = LogMatcher("(", lambda *, offset: read_of([b"x"], offset=offset))
    with pytest.raises(ToolFaultError, match="no regular expression"):
        await matcher.matches()

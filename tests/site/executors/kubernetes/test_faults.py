"""A cluster that is half away, a disk that is full, a clock that is set: no pod is made twice, lost, or left behind."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import pytest
from tests.support.kubernetes_host import Host, eventually

from fedproc.site.executors.base import ExecutorError, Handle, Phase
from fedproc.site.executors.confinement import record as recording
from fedproc.site.executors.confinement.limits import LimitMonitor
from fedproc.site.executors.kubernetes import cluster as calling
from fedproc.site.executors.kubernetes import executor as executing
from fedproc.site.executors.kubernetes import follower as following
from fedproc.site.executors.kubernetes import pod_watch as watching
from fedproc.site.executors.kubernetes.cluster import Cluster, ClusterAwayError
from fedproc.site.executors.kubernetes.follower import NETWORK_OPEN

pytestmark = [pytest.mark.slow, pytest.mark.server, pytest.mark.needs_root]


def made(host: Host) -> int:
    return sum(call.startswith("POST") and call.endswith("/pods") for call in host.api.calls)


def full(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@contextlib.asynccontextmanager
async def broken_off(host: Host) -> AsyncIterator[None]:
    """A submission that nobody waits for any more is on its way; its pod comes at the end."""
    host.api.making.clear()
    submitting = asyncio.create_task(host.executor.submit(host.spec()))
    await eventually(lambda: made(host) == 1)
    submitting.cancel()
    await asyncio.gather(submitting, return_exceptions=True)
    yield
    host.api.making.set()
    await eventually(lambda: "j-1" in host.api.pods)


# -- handing over ------------------------------------------------------------------------------------


async def test_job_whose_answer_was_lost_is_made_once_and_not_given_up(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executing, "_PATIENCE_SECONDS", 20)
    host.api.lost_answers = 1
    handle = await host.running()
    assert made(host) == 1
    host.api.ended("j-1", 0)
    assert (await host.end(handle)).exit_code == 0


async def test_server_that_is_away_for_a_moment_costs_no_job(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executing, "_PATIENCE_SECONDS", 20)
    host.api.answer = (429, "Too many requests, please try again later.")
    submitting = asyncio.create_task(host.executor.submit(host.spec()))
    await eventually(lambda: submitting.done() or len(host.api.calls) >= 3)
    host.api.answer = None
    assert (await submitting)["job"] == "j-1"


async def test_two_changes_of_a_quota_that_met_cost_no_job(host: Host) -> None:
    host.api.conflicts = 1
    assert (await host.executor.submit(host.spec()))["job"] == "j-1"
    host.api.conflicts = 1000
    with pytest.raises(ExecutorError, match="the object has been modified"):
        await host.executor.submit(host.spec("j-2"))
    assert (await host.executor.records()).keys() == {"j-1"}


async def test_pod_that_is_there_is_taken_up_however_long_the_answer_took(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = await host.running()
    for name in ("record.jsonl", "handing"):  # of a disk that lost what was written last
        (Path(handle["folder"]) / name).unlink()
    await host.restart()
    monkeypatch.setattr(executing, "_PATIENCE_SECONDS", 0)
    assert await host.executor.submit(host.spec()) == handle
    host.api.ended("j-1", 0)
    assert (await host.end(handle)).exit_code == 0


async def test_submission_that_was_broken_off_is_taken_up_by_the_next_daemon(host: Host) -> None:
    async with broken_off(host):
        pass
    order = host.folder / "kubernetes" / "j-1" / "control" / "order.json"
    assert order.exists(), "its pod reads it"
    await host.restart()
    handle = await host.executor.submit(host.spec())
    host.api.ended("j-1", 0)
    assert (await host.end(handle)).exit_code == 0


async def test_submission_that_was_broken_off_leaves_nothing_once_it_is_discarded(host: Host) -> None:
    async with broken_off(host):
        discarding = asyncio.create_task(host.executor.discard({"job": "j-1"}))
        await eventually(lambda: f"GET {POD}" in host.api.calls)
        await asyncio.sleep(0.02)
    await discarding
    assert (host.api.pods, await host.executor.records()) == ({}, {})


POD = "/api/v1/namespaces/ours/pods/j-1"


async def test_full_disk_after_the_pod_was_made_loses_no_job(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "_FIRST_PAUSE", 0.01)
    with monkeypatch.context() as patched:
        patched.setattr(recording, "write_record", full)
        handle = await host.running()
        await host.restart()
        assert (await host.executor.poll(handle)).phase is Phase.running, "its pod is there"
    host.api.ended("j-1", 3)
    assert (await host.end(handle)).exit_code == 3
    await eventually(lambda: recording.read_record(Path(handle["folder"])) is not None)


async def test_pod_that_is_not_ours_is_not_discarded(host: Host) -> None:
    host.api.pods["j-1"] = {"metadata": {"name": "j-1", "labels": {}}, "status": {"phase": "Pending"}}
    await host.executor.discard({"job": "j-1"})
    assert "deletionTimestamp" not in host.api.pods["j-1"]["metadata"]


# -- what the cluster says ---------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["default backend - 404", '{"message": "no Route matched with those values"}', ""])
async def test_word_of_a_gateway_is_no_end_of_a_pod(host: Host, text: str) -> None:
    handle = await host.running()
    host.api.answer = (404, text)
    with pytest.raises(ExecutorError, match="404"):
        await host.executor.discard(handle)
    host.api.answer = None
    assert (await host.executor.poll(handle)).phase is Phase.running
    host.api.ended("j-1", 0)
    assert (await host.end(handle)).exit_code == 0


async def test_watches_that_are_cut_at_once_are_no_storm(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "_FIRST_PAUSE", 0.2)
    host.api.brief = True
    await host.running()
    await asyncio.sleep(0.3)
    assert sum(call.endswith("GET /api/v1/namespaces/ours/pods") for call in host.api.calls) < 10


async def test_anything_unforeseen_does_not_end_the_watch(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    handle = await host.running()
    waiting = asyncio.create_task(host.executor.poll(handle, until_exit=True))
    listing, asked = Cluster.pods, []

    async def once_odd(self: Cluster, selector: str) -> Any:
        asked.append(1)
        if len(asked) == 1:
            raise LookupError("nobody foresaw it")
        return await listing(self, selector)

    monkeypatch.setattr(Cluster, "pods", once_odd)
    await asyncio.sleep(0.05)
    host.api.cut_watches()
    await eventually(lambda: bool(asked))
    host.api.ended("j-1", 0)
    async with asyncio.timeout(5):
        assert (await waiting).exit_code == 0


async def test_end_of_a_pod_that_had_the_name_before_is_none_of_this_one(host: Host) -> None:
    handle = await host.running()
    host.api.ended("j-1", 3)
    await host.end(handle)
    host.api.mute = True  # what the watch tells of the old one comes late
    await host.executor.discard(handle)
    handle = await host.executor.submit(host.spec())
    await asyncio.sleep(0.1)
    assert (await host.executor.poll(handle)).phase is Phase.running
    host.api.mute = False
    host.api.ended("j-1", 4)
    host.api.cut_watches()
    assert (await host.end(handle)).exit_code == 4


async def test_obstacle_says_whether_the_cluster_is_only_away(host: Host) -> None:
    host.api.answer = (503, "")
    assert (await host.executor.offer()).away
    host.api.answer = None
    host.api.forbidden = {"pods"}
    assert not (await host.executor.offer()).away


async def test_access_that_hangs_holds_nobody(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kubeconfig may name a program that is asked for a token."""
    monkeypatch.setattr(calling, "CALL_SECONDS", 0.05)
    monkeypatch.setattr(calling, "_configuration", lambda _: asyncio.sleep(60))
    cluster = Cluster(host.settings)
    async with asyncio.timeout(5):
        with pytest.raises(ClusterAwayError):
            async for _ in cluster.changes("a=b", "1"):
                pass


async def test_no_token_is_told_of_a_kubeconfig_that_cannot_be_read(host: Host) -> None:
    path = host.settings.kubeconfig
    assert path is not None
    for text in (path.read_text()[:-20], 'users: [{name: us, user: {token: "a-token}}]', "users: {token: a-token"):
        path.write_text(text)
        await host.restart()
        assert "kubernetes.kubeconfig" in (obstacle := (await host.executor.offer()).obstacle)
        assert "a-token" not in obstacle


# -- times, limits, output ---------------------------------------------------------------------------


async def test_time_counts_from_when_the_container_began_and_not_from_when_it_was_seen(host: Host) -> None:
    handle = await host.executor.submit(host.spec())
    host.api.pods["j-1"]["metadata"]["creationTimestamp"] = "2020-01-01T00:00:00Z"
    await host.executor.close()
    began = datetime.now(UTC) - timedelta(hours=2)
    host.api.status("j-1", "Running", {"running": {"startedAt": began.isoformat()}})
    host.executor = host.made()
    await host.executor.poll(handle)
    await eventually(lambda: bool(host.executor._followers["j-1"].record.started))
    seconds = (await host.executor.poll(handle)).seconds
    assert seconds is not None
    assert 7100 < seconds < 7300


@pytest.mark.parametrize("leap", [timedelta(days=1), timedelta(days=-1)])
async def test_clock_that_is_set_changes_no_time(host: Host, monkeypatch: pytest.MonkeyPatch, leap: timedelta) -> None:
    class Set(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + leap

    handle = await host.running()
    await eventually(lambda: bool(host.executor._followers["j-1"].record.started))
    monkeypatch.setattr(following, "datetime", Set)
    seconds = (await host.executor.poll(handle)).seconds
    assert seconds is not None
    assert 0 <= seconds < 60
    (host.folder / "kubernetes" / NETWORK_OPEN).write_text("10.96.0.1:443 answers")
    later = time.time() + 86400
    os.utime(host.folder / "kubernetes" / NETWORK_OPEN, (later, later))
    assert "answers" not in (await host.executor.offer()).obstacle


async def test_shared_folder_that_is_away_for_a_moment_ends_no_look_at_the_disk(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch, looks = LimitMonitor.watch, []

    async def stale_at_first(self: LimitMonitor, group: Any) -> None:
        looks.append(1)
        if len(looks) < 3:
            raise OSError(errno.ESTALE, "Stale file handle")
        await watch(self, group)

    monkeypatch.setattr(LimitMonitor, "watch", stale_at_first)
    await host.running()
    (host.folder / "j-1" / "work" / "large").write_bytes(bytes(21_000_000))
    await eventually(lambda: "deletionTimestamp" in host.api.pods["j-1"]["metadata"])


async def test_job_whose_limits_nobody_can_see_is_ended(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "_BLIND_SECONDS", 0)
    monkeypatch.setattr(LimitMonitor, "watch", full)
    monkeypatch.setattr(LimitMonitor, "note_disk", full)
    handle = await host.running()
    await eventually(lambda: "deletionTimestamp" in host.api.pods["j-1"]["metadata"])
    host.api.ended("j-1", 137, cancelled=True)
    seen = await host.end(handle)
    assert seen.exit_code is None
    assert "its limits could not be watched any more" in seen.detail
    await eventually(lambda: not host.api.pods.get("j-1", {}).get("metadata", {}).get("finalizers"))


def stdout_of(handle: Handle) -> Path:
    return Path(handle["folder"]) / "stdout"


async def test_end_waits_for_the_last_of_the_output(host: Host) -> None:
    handle = await host.running()
    stdout_of(handle).write_bytes(b"the ca")
    waiting = asyncio.create_task(host.end(handle))
    host.api.ended("j-1", 1, kept={"stdout": 10, "stderr": 0})
    await asyncio.sleep(0.1)
    assert not waiting.done()
    stdout_of(handle).write_bytes(b"the cause\n")
    assert (await waiting).exit_code == 1


async def test_output_that_never_comes_holds_no_end(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "_OUTPUT_SECONDS", 0.05)
    handle = await host.running()
    host.api.ended("j-1", 1, kept={"stdout": 10, "stderr": "odd"})
    assert (await host.end(handle)).exit_code == 1


async def test_memory_that_was_short_takes_no_usage_with_it(host: Host) -> None:
    handle = await host.running()
    key = host.api.pods["j-1"]["spec"]["containers"][0]["env"][0]["value"]
    message = f'{{"key": "{key}", "cpu_seconds": 2.5, "memory_peak": 96000000}}'
    host.api.status("j-1", "Failed", {"terminated": {"exitCode": 137, "reason": "OOMKilled", "message": message}})
    seen = await host.end(handle)
    assert (seen.limit, seen.usage.cpu_seconds, seen.usage.memory_peak) == ("memory", 2.5, 96_000_000)

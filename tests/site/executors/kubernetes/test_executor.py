"""The five verbs over a stand-in API server; the suite one folder up runs them against a real one."""

from __future__ import annotations

import asyncio
import errno
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.support.kubernetes_host import Host, eventually

from fedproc.site.executors.base import ExecutorError, Forward, Handle, Mount, Phase
from fedproc.site.executors.confinement import record as recording
from fedproc.site.executors.confinement.record import forget
from fedproc.site.executors.kubernetes import executor as executing
from fedproc.site.executors.kubernetes.follower import NETWORK_OPEN
from fedproc.site.executors.kubernetes.pod import POLICY, network_policy
from fedproc.site.settings import KubernetesFolder, KubernetesSettings

pytestmark = [pytest.mark.slow, pytest.mark.server, pytest.mark.needs_root]


async def test_job_is_a_pod_and_its_end_is_on_record(host: Host) -> None:
    handle = await host.running()
    assert json.loads(json.dumps(handle)) == handle
    assert (await host.executor.poll(handle)).phase is Phase.running
    host.api.ended("j-1", 3, cpu_seconds=2.5, memory_peak=1000, started="2026-11-28T10:00:00+00:00")
    seen = await host.end(handle)
    assert (seen.phase, seen.exit_code, seen.limit, seen.cancelled) == (Phase.exited, 3, None, False)
    assert (seen.seconds, seen.usage.cpu_seconds, seen.usage.memory_peak) == (1.5, 2.5, 1000)
    await eventually(lambda: not host.api.pods["j-1"]["metadata"]["finalizers"])


async def test_same_job_is_asked_for_once_also_by_a_daemon_that_was_lost_meanwhile(host: Host) -> None:
    first, second = await asyncio.gather(host.executor.submit(host.spec()), host.executor.submit(host.spec()))
    assert first == second
    folder = Path(first["folder"])
    (folder / "record.jsonl").unlink()  # it was lost between the cluster's answer and its own note
    await host.restart()
    assert await host.executor.submit(host.spec()) == first
    assert len(host.api.pods) == 1
    host.api.ended("j-1", 0)
    assert (await host.end(first)).exit_code == 0


async def test_what_ended_while_the_daemon_was_away_is_known(host: Host) -> None:
    handle = await host.running()
    await host.executor.close()
    host.api.ended("j-1", 4)
    host.executor = host.made()
    assert (await host.end(handle)).exit_code == 4
    await host.restart()
    assert (await host.executor.poll(handle)).exit_code == 4


@pytest.mark.parametrize(
    "answer",
    [(503, '{"message": "etcd is away"}'), (200, "<html>a portal</html>"), (200, "[]"), (429, ""), (500, "\xff")],
)
async def test_nothing_is_lost_while_the_api_server_is_away(host: Host, answer: tuple[int, str]) -> None:
    handle = await host.running()
    await eventually(lambda: any("GET" in call for call in host.api.calls))
    host.api.answer = answer
    host.api.cut_watches()
    assert (await host.executor.offer()).obstacle
    assert (await host.executor.poll(handle)).phase is Phase.running
    await host.restart()
    assert (await host.executor.poll(handle)).phase is Phase.running
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await host.executor.poll(handle, until_exit=True)
    with pytest.raises(ExecutorError, match="Kubernetes"):
        await host.executor.submit(host.spec("j-2"))
    host.api.answer = None
    host.api.ended("j-1", 0)
    assert (await host.end(handle)).exit_code == 0
    assert (await host.executor.offer()).obstacle == ""


async def test_cancel_reaches_the_job_by_its_folder_and_the_cluster_when_it_is_back(host: Host) -> None:
    handle = await host.running()
    host.api.answer = (503, "")
    await host.executor.cancel(handle)
    await host.executor.cancel(handle)
    assert (Path(handle["folder"]) / "control" / "stop").exists()
    host.api.answer = None
    await eventually(lambda: "deletionTimestamp" in host.api.pods["j-1"]["metadata"])
    host.api.ended("j-1", 143, cancelled=True)
    seen = await host.end(handle)
    assert (seen.exit_code, seen.cancelled, seen.limit) == (143, True, None)
    assert sum("DELETE" in call for call in host.api.calls if host.api.answer is None) >= 1


async def test_job_that_waits_for_a_node_is_cancelled_there(host: Host) -> None:
    handle = await host.executor.submit(host.spec())
    await host.executor.cancel(handle)
    seen = await host.end(handle)
    assert (seen.exit_code, seen.cancelled) == (143, True)


async def test_whom_somebody_else_deletes_is_lost_and_not_the_tools_fault(host: Host) -> None:
    handle = await host.running()
    host.api.ended("j-1", 143, cancelled=True)
    seen = await host.end(handle)
    assert (seen.exit_code, seen.cancelled) == (None, False)
    assert "somebody else" in seen.detail
    other = await host.running("j-2")
    host.api.forget("j-2")
    assert "while the job ran" in (await host.end(other)).detail


async def test_limits_are_told_by_name(host: Host) -> None:
    handle = await host.running()
    host.api.ended("j-1", 137, limit="pids", detail="it had more than 24")
    assert (await host.end(handle)).limit == "pids"
    handle = await host.running("j-2")
    host.api.status("j-2", "Failed", {"terminated": {"exitCode": 137, "reason": "OOMKilled"}})
    seen = await host.end(handle)
    assert (seen.limit, seen.detail) == ("memory", "it needed more than 96 MB")


async def test_disk_is_looked_at_from_here(host: Host) -> None:
    handle = await host.running()
    (host.folder / "j-1" / "work" / "large").write_bytes(bytes(21_000_000))
    await eventually(lambda: "deletionTimestamp" in host.api.pods["j-1"]["metadata"])
    assert stop_of(handle) == "now"
    host.api.ended("j-1", 137, cancelled=True)
    seen = await host.end(handle)
    assert (seen.exit_code, seen.limit) == (137, "disk")


def stop_of(handle: Handle) -> str:
    return (Path(handle["folder"]) / "control" / "stop").read_text()


async def test_image_that_cannot_be_pulled_is_given_up(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    handle = await host.executor.submit(host.spec())
    host.api.status("j-1", "Pending", {"waiting": {"reason": "InvalidImageName", "message": "no name"}})
    seen = await host.end(handle)
    assert seen.exit_code is None
    assert "its pod does not start: InvalidImageName: no name" in seen.detail


async def test_discard_leaves_nothing_and_frees_the_name(host: Host) -> None:
    handle = await host.running()
    waiting = asyncio.create_task(host.executor.poll(handle, until_exit=True))
    discarding = asyncio.create_task(host.executor.discard(handle))
    await eventually(lambda: "deletionTimestamp" in host.api.pods["j-1"]["metadata"])
    await asyncio.sleep(0.2)
    assert not discarding.done(), "its processes may still be there"
    host.api.ended("j-1", 137)
    async with asyncio.timeout(20):
        await discarding
        assert (await waiting).phase is not Phase.running
    assert host.api.pods == {}
    assert await host.executor.records() == {}
    assert (await host.executor.poll(handle)).phase is Phase.absent
    await host.executor.cancel(handle)
    await host.executor.discard({"job": "j-1"})
    assert await host.executor.submit(host.spec()) == handle


async def test_what_cannot_be_started_leaves_nothing(host: Host) -> None:
    with pytest.raises(ExecutorError, match="nowhere"):
        await host.executor.submit(host.spec(mounts=(Mount(host.folder / "nowhere", Path("/data")),)))
    host.api.answer = (403, '{"kind": "Status", "message": "violates PodSecurity"}')
    with pytest.raises(ExecutorError, match="violates PodSecurity"):
        await host.executor.submit(host.spec())
    host.api.answer = None
    assert await host.executor.records() == {}


async def test_pod_of_which_no_file_is_left_is_found_by_its_label_and_discarded(host: Host) -> None:
    handle = await host.running()
    await host.executor.close()
    forget(Path(handle["folder"]))
    host.executor = host.made()
    assert await host.executor.records() == {"j-1": (datetime(2026, 11, 28, 10, tzinfo=UTC).timestamp(), 0)}
    discarding = asyncio.create_task(host.executor.discard({"job": "j-1"}))
    await eventually(lambda: "deletionTimestamp" in host.api.pods["j-1"]["metadata"])
    host.api.ended("j-1", 137)
    await discarding
    assert (host.api.pods, await host.executor.records()) == ({}, {})


async def test_node_that_does_not_end_a_pod_is_said(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executing, "_NODE_SECONDS", 0.3)
    handle = await host.running()
    with pytest.raises(ExecutorError, match="the node of the pod j-1"):
        await host.executor.discard(handle)
    host.api.ended("j-1", 137)
    await host.executor.discard(handle)
    assert host.api.pods == {}


async def test_pod_of_the_same_name_that_is_not_ours_is_left_alone(host: Host) -> None:
    host.api.pods["j-1"] = {"metadata": {"name": "j-1", "labels": {}}, "status": {"phase": "Running"}}
    with pytest.raises(ExecutorError, match="not this host's"):
        await host.executor.submit(host.spec())
    assert "deletionTimestamp" not in host.api.pods["j-1"]["metadata"]


@pytest.mark.parametrize(
    "line",
    [
        b"no json\n",
        b'{"type": "ERROR", "object": {"code": 410}}\n',
        b"[]\n",
        b'{"type": "MODIFIED"}\n',
        b"\n",
        b'{"object": {}}\n',
        b"[" * 100_000 + b"\n",
    ],
)
async def test_watch_that_says_odd_things_is_begun_again(host: Host, line: bytes) -> None:
    handle = await host.running()
    waiting = asyncio.create_task(host.executor.poll(handle, until_exit=True))
    await eventually(lambda: sum(call.endswith("/pods") for call in host.api.calls) >= 3)
    host.api.send(line)
    host.api.ended("j-1", 0)
    async with asyncio.timeout(20):
        assert (await waiting).exit_code == 0


async def test_token_that_was_renewed_on_disk_is_read_again(host: Host) -> None:
    path = host.settings.kubeconfig
    assert path is not None
    good = path.read_text()
    path.write_text(good.replace("a-token", "an-old-one"))
    assert "Unauthorized" in (await host.executor.offer()).obstacle
    path.write_text(good)
    assert (await host.executor.offer()).obstacle == ""


async def test_offer_makes_the_policy_of_the_network_and_says_what_is_not_enforced(host: Host) -> None:
    offer = await host.executor.offer()
    assert (offer.obstacle, offer.lacks) == ("", {})
    assert "v1.34.4" in offer.detail
    assert host.api.policies[POLICY]["spec"] == network_policy()["spec"]
    host.settings = replace_pids(host.settings)
    await host.restart()
    assert (await host.executor.offer()).lacks.keys() == {"pids"}


def replace_pids(settings: KubernetesSettings) -> KubernetesSettings:
    return settings.model_copy(update={"pids": None})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"forbidden": {"pods"}}, "may not create pods"),
        ({"claims": set()}, "has no PersistentVolumeClaim shared"),
        ({"policies": {POLICY: {"spec": {"egress": [{}]}}}}, "is not the one of docs/executors.md"),
    ],
)
async def test_obstacle_is_said_with_its_cure(host: Host, change: dict[str, Any], says: str) -> None:
    for name, value in change.items():
        setattr(host.api, name, value)
    assert says in (await host.executor.offer()).obstacle


@pytest.mark.parametrize(
    ("refusal", "says"),
    [
        (
            'pods "a" is forbidden: exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1',
            "waits for room",
        ),
        ('namespaces "ours" not found', "have the namespace made"),
        ('admission webhook "w" denied the request: no such image', ""),
        ("minimum cpu usage per Container is 500m, but request is 100m", ""),
    ],
)
async def test_cluster_is_asked_whether_it_would_take_a_job(host: Host, refusal: str, says: str) -> None:
    host.api.refusal = refusal
    obstacle = (await host.executor.offer()).obstacle
    assert (says in obstacle) if says else obstacle == "", "what only some jobs meet is no obstacle to all"
    host.api.refusal = ""
    assert (await host.executor.offer()).obstacle == ""
    assert host.api.pods == {}


async def test_job_that_was_handed_over_is_not_asked_for_again_where_a_quota_would_refuse_it(host: Host) -> None:
    handle = await host.running()
    (Path(handle["folder"]) / "record.jsonl").unlink()  # the daemon was lost before it could note it
    await host.restart()
    host.api.refusal = "exceeded quota"
    assert await host.executor.submit(host.spec()) == handle
    host.api.ended("j-1", 0)
    assert (await host.end(handle)).exit_code == 0


@pytest.mark.parametrize(
    "answer", [(401, '{"message": "Unauthorized"}'), (403, '{"kind": "Status", "message": "pods is forbidden"}')]
)
async def test_account_that_may_nothing_any_more_loses_no_job_and_no_cancel(
    host: Host, answer: tuple[int, str]
) -> None:
    handle = await host.running()
    host.api.answer = answer
    await host.restart()
    assert (await host.executor.poll(handle)).phase is Phase.running
    await host.executor.cancel(handle)
    (Path(handle["folder"]) / "record.jsonl").rename(host.folder / "kept")
    again = host.made()
    with pytest.raises(ExecutorError):
        await again.submit(host.spec())
    await again.close()
    assert (Path(handle["folder"]) / "control" / "order.json").exists(), "its pod may be there, and reads it"
    (host.folder / "kept").rename(Path(handle["folder"]) / "record.jsonl")
    host.api.answer = None
    await eventually(lambda: "deletionTimestamp" in host.api.pods["j-1"]["metadata"])
    host.api.ended("j-1", 143, cancelled=True)
    assert (await host.end(handle)).cancelled


async def test_marks_of_others_stay_on_a_pod(host: Host) -> None:
    handle = await host.running()
    host.api.pods["j-1"]["metadata"]["finalizers"].append("kueue.x-k8s.io/managed")
    host.api.ended("j-1", 0)
    await host.end(handle)
    await eventually(lambda: host.api.pods["j-1"]["metadata"]["finalizers"] == ["kueue.x-k8s.io/managed"])


async def test_restricted_namespace_refuses_folders_of_nodes(host: Host) -> None:
    host.api.labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    assert (await host.executor.offer()).obstacle == ""
    own = KubernetesFolder(path=host.folder, host_path=host.folder)
    host.settings = host.settings.model_copy(update={"folders": (own,)})
    await host.restart()
    assert "refuses host_path" in (await host.executor.offer()).obstacle


async def test_network_that_a_job_found_open_keeps_others_away(host: Host) -> None:
    handle = await host.running()
    host.api.ended("j-1", 125, fault="10.96.0.1:443 answers from inside its pod")
    seen = await host.end(handle)
    assert (seen.exit_code, seen.limit) == (None, None)
    assert "answers from inside" in seen.detail
    assert "network plugin" in (await host.executor.offer()).obstacle
    (host.folder / "kubernetes" / NETWORK_OPEN).unlink()
    assert (await host.executor.offer()).obstacle == ""


async def test_host_without_a_kubeconfig_says_what_it_needs(host: Host, tmp_path: Path) -> None:
    host.settings = host.settings.model_copy(update={"kubeconfig": tmp_path / "none"})
    await host.restart()
    assert "kubernetes.kubeconfig" in (await host.executor.offer()).obstacle


async def test_peer_with_an_underscore_is_found_by_its_name(host: Host) -> None:
    host.settings = host.settings.model_copy(update={"node": "node-7"})
    await host.restart()
    (host.folder / "j-1" / "out").mkdir(parents=True)
    forward = Forward("train_a.fedproc.internal", 9092, host.folder / "j-1" / "out" / "peer")
    handle = await host.executor.submit(host.spec(forwards=(forward,)))
    hosts = Path(handle["folder"]) / "hosts"
    assert hosts.read_text().splitlines() == [
        "127.0.0.1 localhost",
        "::1 localhost",
        "127.0.1.1 train_a.fedproc.internal",
    ]


async def test_steps_of_a_job_have_pods_of_their_own(host: Host) -> None:
    handle = await host.running()
    spec = replace(host.spec(), job="j-1-1")
    other = await host.executor.submit(spec)
    assert {handle["job"], other["job"]} == host.api.pods.keys()


async def test_a_full_disk_keeps_no_pod_from_being_ended(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    handle = await host.running()
    with monkeypatch.context() as patched:
        patched.setattr(recording, "write_record", full)
        patched.setattr(recording, "_FIRST_PAUSE", 0.01)
        patched.setattr(Path, "touch", full)
        await host.executor.cancel(handle)
        await eventually(lambda: "deletionTimestamp" in host.api.pods["j-1"]["metadata"])
        host.api.ended("j-1", 143, cancelled=True)
        seen = await host.end(handle)
        assert (seen.exit_code, seen.cancelled) == (143, True)
        assert host.api.pods["j-1"]["metadata"]["finalizers"], "it alone says how it ended"
    await eventually(lambda: not host.api.pods["j-1"]["metadata"]["finalizers"])
    record = recording.read_record(Path(handle["folder"]))
    assert record is not None
    assert (record.phase, record.exit_code) == ("exited", 143)

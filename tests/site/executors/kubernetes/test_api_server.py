"""The executor before a real API server, by a token of docs/executors.md's account, in its namespace.

Controllers and scheduler are real, too. No kubelet is there: what one reports, the tests report, and no container runs.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.kubernetes import CORE, GPU, RBAC, ApiServer, needs_kubernetes

from fedproc.site.executors.base import ExecutorError, Handle, Limits, Phase, Spec, Stop
from fedproc.site.executors.confinement.record import forget
from fedproc.site.executors.kubernetes import executor as executing
from fedproc.site.executors.kubernetes.cluster import TOO_OLD, Cluster, ClusterRefusedError
from fedproc.site.executors.kubernetes.executor import KubernetesExecutor
from fedproc.site.executors.kubernetes.pod import FINALIZER, POLICY
from fedproc.site.executors.kubernetes.pod_states import Pod
from fedproc.site.settings import KubernetesFolder, KubernetesSettings

pytestmark = [
    pytest.mark.needs_root, pytest.mark.process, pytest.mark.slow, pytest.mark.timeout(600), needs_kubernetes,
]  # fmt: skip


POLICY_OBJECT = ("networkpolicies", POLICY)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    made = ApiServer(tmp_path_factory.mktemp("cluster"))
    try:
        made.start()
        made.enter_node()
        made.lay_out({"shared": Path("/nowhere")})
        yield made
    finally:
        made.stop()


class Host:
    def __init__(self, server: ApiServer, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self.settings = KubernetesSettings(
            kubeconfig=server.kubeconfig("ub", server.token()),
            folders=(KubernetesFolder(path=folder, claim="shared"),),
            pids=1024,
        )
        self.executor = self.made()

    def made(self) -> KubernetesExecutor:
        return KubernetesExecutor(self.folder / "kubernetes", self.settings, "ub")

    async def restart(self, **settings: Any) -> None:
        await self.executor.close()
        self.settings = self.settings.model_copy(update=settings)
        self.executor = self.made()

    async def obstacle(self) -> str:
        return (await self.executor.offer()).obstacle

    async def submit(self, job: str, *, gpus: tuple[str, ...] = (), **more: Any) -> Handle:
        work = self.folder / job / "work"
        work.mkdir(parents=True, exist_ok=True)
        limits = Limits(cpus=1, memory=96_000_000, disk=20_000_000, pids=24, gpus=gpus)
        spec = Spec(job, ("fit",), {}, "mirror/a@sha256:" + "0" * 64, work, limits, stop=Stop("SIGTERM", 1), **more)
        return await self.executor.submit(spec)

    async def running(self, job: str, **more: Any) -> Handle:
        handle = await self.submit(job, **more)
        self.server.scheduled(job)
        self.server.report(job, "Running", {"running": {"startedAt": "2026-11-28T10:00:00Z"}})
        return handle

    def over(self, job: str, code: int, **told: Any) -> None:
        key = self.server.pods()[job]["spec"]["containers"][0]["env"][0]["value"]
        end = {"exitCode": code, "reason": "Error", "message": json.dumps({"key": key, **told})}
        self.server.report(job, "Failed" if code else "Succeeded", {"terminated": end})

    async def end(self, handle: Handle) -> tuple[int | None, bool, str]:
        async with asyncio.timeout(60):
            seen = await self.executor.poll(handle, until_exit=True)
        return seen.exit_code, seen.cancelled, seen.detail


@pytest.fixture
async def host(server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Host]:
    monkeypatch.setattr(executing, "_PATIENCE_SECONDS", 1)
    made = Host(server, tmp_path)
    before = server.objects()
    yield made
    for name in server.pods():
        made.over(name, 0)
        await made.executor.discard({"job": name})
    await made.executor.close()
    assert server.objects() - {POLICY_OBJECT} == before - {POLICY_OBJECT}


async def eventually(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not holds():
            await asyncio.sleep(0.05)


async def test_role_of_the_documentation_is_enough_and_the_policy_is_made(host: Host) -> None:
    offer = await host.executor.offer()
    assert (offer.obstacle, offer.lacks) == ("", {})
    path = f"/apis/networking.k8s.io/v1/namespaces/fedproc/networkpolicies/{POLICY}"
    spec = host.server.call("GET", path)["spec"]
    assert set(spec["policyTypes"]) == {"Ingress", "Egress"}
    assert not spec.get("ingress")
    assert not spec.get("egress")
    assert (await host.executor.offer()).obstacle == "", "also of the policy as the server gives it back"


async def test_namespace_of_the_level_restricted_takes_the_pod_and_refuses_folders_of_nodes(host: Host) -> None:
    await host.submit("j-taken")
    pod = host.server.pods()["j-taken"]
    assert pod["spec"]["containers"][0]["image"].endswith("@sha256:" + "0" * 64)
    assert pod["metadata"]["finalizers"] == [FINALIZER]
    assert pod["spec"]["containers"][0]["resources"]["requests"]["ephemeral-storage"] == "0"
    own = KubernetesFolder(path=host.folder, host_path=host.folder)
    await host.restart(folders=(own,))
    assert "violates PodSecurity" in await host.obstacle(), "though its account may not read the namespace's level"
    with pytest.raises(ExecutorError, match="violates PodSecurity"):
        await host.submit("j-refused")
    assert (await host.executor.records()).keys() == {"j-taken"}


async def test_end_comes_by_the_watch_and_the_mark_is_taken_off(host: Host) -> None:
    handle = await host.running("j-ended")
    waiting = asyncio.create_task(host.end(handle))
    await asyncio.sleep(0.2)
    assert not waiting.done()
    host.over("j-ended", 3)
    assert (await waiting)[0] == 3
    await eventually(lambda: "finalizers" not in host.server.pods()["j-ended"]["metadata"])


async def test_pod_that_somebody_deletes_stays_until_its_end_is_on_record(host: Host) -> None:
    handle = await host.running("j-deleted")
    await host.executor.close()
    host.server.call("DELETE", f"{CORE}/pods/j-deleted", {})
    host.over("j-deleted", 143, cancelled=True)
    host.server.confirm_end("j-deleted")
    assert "j-deleted" in host.server.pods()
    host.executor = host.made()
    code, cancelled, detail = await host.end(handle)
    assert (code, cancelled) == (None, False)
    assert "somebody else" in detail
    await eventually(lambda: host.server.pods() == {})


async def test_cancel_of_one_that_waits_and_of_one_that_runs(host: Host) -> None:
    runs = await host.running("j-runs")
    host.server.cordon(closed=True)
    try:
        waits = await host.submit("j-waits")
        await host.executor.cancel(waits)
        assert (await host.end(waits))[:2] == (143, True)
    finally:
        host.server.cordon(closed=False)
    for handle in (runs, waits, runs):
        await host.executor.cancel(handle)
    await eventually(lambda: "deletionTimestamp" in host.server.pods()["j-runs"]["metadata"])
    host.over("j-runs", 7, cancelled=True)
    assert (await host.end(runs))[:2] == (7, True)
    host.server.confirm_end("j-runs")
    await eventually(lambda: host.server.pods() == {})


async def test_discard_waits_for_the_node_and_leaves_nothing(host: Host) -> None:
    handle = await host.running("j-left")
    discarding = asyncio.create_task(host.executor.discard(handle))
    await eventually(lambda: "deletionTimestamp" in host.server.pods()["j-left"]["metadata"])
    await asyncio.sleep(0.3)
    assert not discarding.done()
    host.server.confirm_end("j-left")
    await asyncio.sleep(0.3)
    assert not discarding.done(), "its node has not said that its container ended"
    host.over("j-left", 137)
    async with asyncio.timeout(60):
        await discarding
    assert host.server.pods() == {}
    assert (await host.executor.poll(handle)).phase is Phase.absent


async def test_same_job_is_made_once(host: Host) -> None:
    first, second = await asyncio.gather(host.submit("j-once"), host.submit("j-once"))
    assert first == second
    (Path(first["folder"]) / "record.jsonl").unlink()
    await host.restart()
    assert await host.submit("j-once") == first
    assert list(host.server.pods()) == ["j-once"]


async def test_jobs_go_on_while_the_api_server_is_away(host: Host) -> None:
    handle = await host.running("j-on")
    await asyncio.to_thread(host.server.stop_server)
    try:
        assert "does not answer" in (await host.executor.offer()).obstacle
        assert (await host.executor.poll(handle)).phase is Phase.running
        await host.restart()
        waiting = asyncio.create_task(host.end(handle))
        await asyncio.sleep(2)
        assert not waiting.done(), "nothing is declared lost"
        waiting.cancel()
    finally:
        host.server.start_server()  # by this thread: what another one starts ends with it
    host.over("j-on", 0)
    assert (await host.end(handle))[0] == 0
    assert (await host.executor.offer()).obstacle == ""


async def test_pod_of_which_no_file_is_left_is_found_by_its_label_and_discarded(host: Host) -> None:
    handle = await host.running("j-found")
    await host.executor.close()
    forget(Path(handle["folder"]))
    host.executor = host.made()
    assert (await host.executor.records()).keys() == {"j-found"}
    discarding = asyncio.create_task(host.executor.discard({"job": "j-found"}))
    await eventually(lambda: "deletionTimestamp" in host.server.pods()["j-found"]["metadata"])
    host.over("j-found", 137)
    async with asyncio.timeout(60):
        await discarding
    assert (host.server.pods(), await host.executor.records()) == ({}, {})


async def test_marks_of_others_stay_on_a_pod(host: Host) -> None:
    handle = await host.running("j-marked")
    host.server.call(
        "PATCH", f"{CORE}/pods/j-marked", {"metadata": {"finalizers": [FINALIZER, "kueue.x-k8s.io/managed"]}}
    )
    host.over("j-marked", 0)
    assert (await host.end(handle))[0] == 0
    await eventually(lambda: host.server.pods()["j-marked"]["metadata"]["finalizers"] == ["kueue.x-k8s.io/managed"])
    host.server.call("PATCH", f"{CORE}/pods/j-marked", {"metadata": {"finalizers": None}})


async def test_gpus_are_counted_by_the_scheduler_and_the_next_job_waits(host: Host) -> None:
    with pytest.raises(ExecutorError, match=r"kubernetes\.gpu_resource"):
        await host.submit("j-first", gpus=("GPU-1",))
    await host.restart(gpu_resource=GPU)
    first = await host.running("j-first", gpus=("GPU-1",))
    await host.submit("j-second", gpus=("GPU-1",))
    resources = host.server.pods()["j-first"]["spec"]["containers"][0]["resources"]
    assert (resources["requests"][GPU], resources["limits"][GPU]) == ("1", "1")
    await eventually(lambda: "Insufficient " + GPU in str(host.server.pods()["j-second"]["status"].get("conditions")))
    host.over("j-first", 0)
    assert (await host.end(first))[0] == 0
    await asyncio.to_thread(host.server.scheduled, "j-second")


async def test_quota_that_is_full_is_a_refusal_with_its_cure_and_no_job_is_forgotten(host: Host) -> None:
    spec = {"spec": {"hard": {"pods": "1"}}}
    host.server.call("POST", f"{CORE}/resourcequotas", {"metadata": {"name": "small"}, **spec})
    quota = f"{CORE}/resourcequotas/small"
    try:
        await eventually(lambda: "hard" in host.server.call("GET", quota).get("status", {}))
        assert await host.obstacle() == ""
        handle = await host.running("j-fits")
        assert "exceeded quota: small, requested: pods=1, used: pods=1, limited: pods=1 (it waits for room" in (
            await host.obstacle()
        )
        with pytest.raises(ExecutorError, match="exceeded quota: small"):
            await host.submit("j-refused")
        assert (await host.executor.records()).keys() == {"j-fits"}
        (Path(handle["folder"]) / "record.jsonl").unlink()  # the daemon was lost between the answer and its own note
        await host.restart()
        assert await host.submit("j-fits") == handle
        host.over("j-fits", 0)
        assert (await host.end(handle))[0] == 0
        await host.executor.discard(handle)
        await eventually(lambda: host.server.call("GET", quota)["status"]["used"]["pods"] == "0")
        assert await host.obstacle() == ""
    finally:
        host.server.call("DELETE", quota, {})


async def test_names_that_the_cluster_does_not_have_are_said_before_a_job_comes(host: Host) -> None:
    await host.restart(priority_class="absent")
    assert "kubernetes.priority_class" in await host.obstacle()
    await host.restart(priority_class=None, runtime_class="absent")
    assert "kubernetes.runtime_class" in await host.obstacle()
    await host.restart(runtime_class=None, folders=(KubernetesFolder(path=host.folder, claim="absent"),))
    assert "has no PersistentVolumeClaim absent" in await host.obstacle()


async def test_namespace_that_is_not_there_is_said(host: Host) -> None:
    await host.restart(namespace="absent")
    assert "see that the namespace is there" in await host.obstacle()
    with pytest.raises(ExecutorError, match="bind the host's account to the Role"):
        await host.submit("j-nowhere")
    rules = host.server.call("GET", f"{RBAC}/roles/fedproc")["rules"]
    subject = {"kind": "ServiceAccount", "name": "fedproc", "namespace": "fedproc"}
    role = {"kind": "ClusterRole", "name": "everywhere", "apiGroup": "rbac.authorization.k8s.io"}
    all_over = "/apis/rbac.authorization.k8s.io/v1"
    host.server.call("POST", f"{all_over}/clusterroles", {"metadata": {"name": "everywhere"}, "rules": rules})
    binding = {"metadata": {"name": "everywhere"}, "subjects": [subject], "roleRef": role}
    host.server.call("POST", f"{all_over}/clusterrolebindings", binding)
    try:
        async with asyncio.timeout(60):
            while "have the namespace made" not in (obstacle := await host.obstacle()):
                assert "see that the namespace is there" in obstacle, "until the server knows of the binding"
        with pytest.raises(ExecutorError, match='namespaces "absent" not found'):
            await host.submit("j-nowhere")
    finally:
        host.server.call("DELETE", f"{all_over}/clusterrolebindings/everywhere", {})
        host.server.call("DELETE", f"{all_over}/clusterroles/everywhere", {})


async def test_token_that_has_expired_holds_the_host_until_a_new_one_is_there(host: Host) -> None:
    handle = await host.running("j-on")
    good = host.server.token()
    host.server.kubeconfig("ub", host.server.expired(good))
    await host.restart()
    assert "its token has expired" in await host.obstacle()
    with pytest.raises(ExecutorError, match="its token has expired"):
        await host.submit("j-new")
    assert (await host.executor.poll(handle)).phase is Phase.running
    await host.executor.cancel(handle)
    waiting = asyncio.create_task(host.end(handle))
    await asyncio.sleep(1)
    assert not waiting.done()
    host.server.kubeconfig("ub", good)
    assert await host.obstacle() == ""
    await eventually(lambda: "deletionTimestamp" in host.server.pods()["j-on"]["metadata"])
    host.over("j-on", 143, cancelled=True)
    assert (await waiting)[:2] == (143, True)


async def test_rights_that_are_taken_away_and_given_back_lose_no_job_and_no_cancel(host: Host) -> None:
    handle = await host.running("j-on")
    role = host.server.call("GET", f"{RBAC}/roles/fedproc")
    host.server.call("PATCH", f"{RBAC}/roles/fedproc", {"rules": []})
    try:
        async with asyncio.timeout(60):
            while "may not create pods, get pods" not in await host.obstacle():
                await asyncio.sleep(0.05)
        await host.restart()
        assert (await host.executor.poll(handle)).phase is Phase.running
        await host.executor.cancel(handle)
        await asyncio.sleep(1)
    finally:
        host.server.call("PATCH", f"{RBAC}/roles/fedproc", {"rules": role["rules"]})
    await eventually(lambda: "deletionTimestamp" in host.server.pods()["j-on"]["metadata"])
    host.over("j-on", 143, cancelled=True)
    assert (await host.end(handle))[:2] == (143, True)


async def test_watch_from_a_version_that_the_server_has_forgotten_lists_again(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.server.stop_server()  # one that has just been started knows of nothing before
    host.server.start_server()
    cluster = Cluster(host.settings)
    with pytest.raises(ClusterRefusedError, match="too old resource version") as raised:
        async for _ in cluster.changes("a=b", "1"):
            pass
    await cluster.close()
    assert raised.value.status == TOO_OLD
    list_now, listed = Cluster.pods, []

    async def pods(self: Cluster, selector: str) -> tuple[list[Pod], str]:
        found, version = await list_now(self, selector)
        listed.append(version)
        return found, "1" if len(listed) < 3 else version

    monkeypatch.setattr(Cluster, "pods", pods)
    handle = await host.running("j-watched")
    waiting = asyncio.create_task(host.end(handle))
    await eventually(lambda: len(listed) == 3)
    host.over("j-watched", 5)
    assert (await waiting)[0] == 5

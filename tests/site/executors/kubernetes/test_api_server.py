"""The executor before a real API server, whose namespace, role and policies are those of docs/executors.md.

No kubelet is there: what one reports, the tests report, so that no container runs here.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.kubernetes import CORE, ApiServer, needs_kubernetes

from fedproc.site.executors.base import ExecutorError, Handle, Limits, Phase, Spec, Stop
from fedproc.site.executors.kubernetes.executor import KubernetesExecutor
from fedproc.site.executors.kubernetes.pod import FINALIZER, POLICY
from fedproc.site.settings import KubernetesFolder, KubernetesSettings

pytestmark = [
    pytest.mark.needs_root, pytest.mark.process, pytest.mark.slow, pytest.mark.timeout(600), needs_kubernetes,
]  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    made = ApiServer(tmp_path_factory.mktemp("cluster"))
    try:
        made.start()
        made.lay_out("shared")
        yield made
    finally:
        made.stop()


class Host:
    def __init__(self, server: ApiServer, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self.settings = KubernetesSettings(
            kubeconfig=server.kubeconfig(), folders=(KubernetesFolder(path=folder, claim="shared"),), pids=1024
        )
        self.executor = self.made()
        self.handles: list[Handle] = []

    def made(self) -> KubernetesExecutor:
        return KubernetesExecutor(self.folder / "kubernetes", self.settings, "ub")

    async def restart(self) -> None:
        await self.executor.close()
        self.executor = self.made()

    async def submit(self, job: str, **more: Any) -> Handle:
        work = self.folder / job / "work"
        work.mkdir(parents=True, exist_ok=True)
        limits = Limits(cpus=1, memory=96_000_000, disk=20_000_000, pids=24)
        spec = Spec(job, ("fit",), {}, "mirror/a@sha256:" + "0" * 64, work, limits, stop=Stop("SIGTERM", 1), **more)
        handle = await self.executor.submit(spec)
        self.handles.append(handle)
        return handle

    async def running(self, job: str) -> Handle:
        handle = await self.submit(job)
        self.server.bind(job)
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
async def host(server: ApiServer, tmp_path: Path) -> AsyncIterator[Host]:
    made = Host(server, tmp_path)
    yield made
    for handle in made.handles:
        for name, pod in server.pods().items():
            if name == handle["job"] and pod["status"]["phase"] == "Running":
                made.over(name, 0)
        await made.executor.discard(handle)
    await made.executor.close()
    assert server.pods() == {}


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
    assert pod["metadata"]["finalizers"] == [FINALIZER]
    assert pod["spec"]["containers"][0]["resources"]["requests"]["ephemeral-storage"] == "0"
    own = KubernetesFolder(path=host.folder, host_path=host.folder)
    host.settings = host.settings.model_copy(update={"folders": (own,)})
    await host.restart()
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
    waits, runs = await host.submit("j-waits"), await host.running("j-runs")
    for handle in (waits, runs, waits, runs):
        await host.executor.cancel(handle)
    assert (await host.end(waits))[:2] == (143, True)
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

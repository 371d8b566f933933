"""One host before one stand-in of a cluster (:mod:`tests.support.kubernetes_api`)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.kubernetes_api import FakeApi

from fedproc.site.executors.base import Handle, Limits, Observation, Spec, Stop
from fedproc.site.executors.kubernetes.executor import KubernetesExecutor
from fedproc.site.settings import KubernetesFolder, KubernetesSettings


class Host:
    def __init__(self, api: FakeApi, folder: Path) -> None:
        self.api = api
        self.folder = folder
        self.settings = KubernetesSettings(
            kubeconfig=api.kubeconfig(folder),
            namespace="ours",
            folders=(KubernetesFolder(path=folder, claim="shared"),),
            pids=1024,
        )
        self.executor = self.made()

    def made(self) -> KubernetesExecutor:
        return KubernetesExecutor(self.folder / "kubernetes", self.settings, "ub")

    async def restart(self) -> None:
        await self.executor.close()
        self.executor = self.made()

    def spec(self, job: str = "j-1", **more: Any) -> Spec:
        work = self.folder / job / "work"
        work.mkdir(parents=True, exist_ok=True)
        limits = Limits(cpus=1, memory=96_000_000, disk=20_000_000, pids=24, log=1000)
        return Spec(job, ("fit",), {}, "mirror/a@sha256:0", work, limits, stop=Stop("SIGTERM", 1), **more)

    async def running(self, job: str = "j-1") -> Handle:
        handle = await self.executor.submit(self.spec(job))
        self.api.status(job, "Running", {"running": {}})
        return handle

    async def end(self, handle: Handle) -> Observation:
        async with asyncio.timeout(20):
            return await self.executor.poll(handle, until_exit=True)


async def eventually(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0.01)

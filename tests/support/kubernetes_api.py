"""An API server of Kubernetes as far as the executor speaks to one: pods with finalizers, their watch, and odd answers.

A test moves the pods itself, as a cluster would.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

TOKEN = "a-token"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class FakeApi:
    """While they are set, ``answer`` is all that it says (a status and a body), ``refusal`` what it says to a pod."""

    def __init__(self) -> None:
        self.pods: dict[str, dict[str, Any]] = {}
        self.policies: dict[str, dict[str, Any]] = {}
        self.claims: set[str] = {"shared"}
        self.labels: dict[str, str] = {}
        self.forbidden: set[str] = set()
        self.answer: tuple[int, str] | None = None
        self.refusal = ""
        self.conflicts = 0
        """so many pods are refused because two changes of something else met"""
        self.lost_answers = 0
        """so many pods are made of which whoever asks is not told"""
        self.making = asyncio.Event()
        """unset: pods are made, or not, later than anybody waits"""
        self.making.set()
        self.mute = self.brief = False
        """whether watches tell nothing, and whether they end at once"""
        self.calls: list[str] = []
        self.port = 0
        self._version = 1
        self._told: list[tuple[int, bytes]] = []
        self._watches: list[asyncio.Queue[bytes]] = []

    def kubeconfig(self, folder: Path) -> Path:
        cluster = {"server": f"http://127.0.0.1:{self.port}"}
        made = {
            "apiVersion": "v1", "kind": "Config", "current-context": "here",
            "clusters": [{"name": "here", "cluster": cluster}],
            "users": [{"name": "us", "user": {"token": TOKEN}}],
            "contexts": [{"name": "here", "context": {"cluster": "here", "user": "us"}}],
        }  # fmt: skip
        path = folder / "kubeconfig"
        path.write_text(json.dumps(made))
        return path

    def status(self, name: str, phase: str, state: dict[str, Any], **more: Any) -> None:
        """What a kubelet reports of a pod."""
        statuses = [{"name": "job", "state": state}] if state else []
        self.pods[name]["status"] = {"phase": phase, "containerStatuses": statuses, **more}
        self._tell("MODIFIED", self.pods[name])

    def ended(self, name: str, code: int, **told: Any) -> None:
        """The pod's container ends, and its first program has its say."""
        key = self.pods[name]["spec"]["containers"][0]["env"][0]["value"]
        message = json.dumps({"key": key, "seconds": 1.5, **told})
        end = {"exitCode": code, "reason": "Completed", "message": message}
        self.status(name, "Succeeded" if code == 0 else "Failed", {"terminated": end})

    def forget(self, name: str) -> None:
        """As if somebody took all its marks away."""
        self._tell("DELETED", self.pods.pop(name))

    def cut_watches(self) -> None:
        for queue in self._watches:
            queue.put_nowait(b"")

    def send(self, line: bytes) -> None:
        for queue in self._watches:
            queue.put_nowait(line)

    def _tell(self, kind: str, pod: dict[str, Any]) -> None:
        self._version += 1
        pod["metadata"]["resourceVersion"] = str(self._version)
        line = json.dumps({"type": kind, "object": pod}).encode() + b"\n"
        if not self.mute:
            self._told.append((self._version, line))
            self.send(line)

    # -- what it answers -------------------------------------------------------------------------

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.calls.append(f"{request.method} {request.path}")
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return _status(401, "Unauthorized")
        if self.answer is not None:
            return web.Response(status=self.answer[0], text=self.answer[1])
        *_, kind = ["", *request.path.split("/namespaces/ours/")]
        name = kind.partition("/")[2]
        if request.path == "/version":
            return web.json_response({"gitVersion": "v1.34.4"})
        if request.path.endswith("/selfsubjectaccessreviews"):
            asked = (await request.json())["spec"]["resourceAttributes"]
            return web.json_response({"status": {"allowed": asked["resource"] not in self.forbidden}})
        if request.path == "/api/v1/namespaces/ours":
            return web.json_response({"metadata": {"labels": self.labels}})
        if kind.startswith("persistentvolumeclaims"):
            found = {"status": {"phase": "Bound"}}
            return web.json_response(found) if name in self.claims else _status(404, f"no claim {name}")
        if kind.startswith("networkpolicies"):
            return await self._policy(request, name)
        return await self._pod(request, name) if name else await self._all(request)

    async def _policy(self, request: web.Request, name: str) -> web.StreamResponse:
        if request.method == "POST":
            made = await request.json()
            self.policies[made["metadata"]["name"]] = made
            return web.json_response(made, status=201)
        return web.json_response(self.policies[name]) if name in self.policies else _status(404, "not found")

    async def _all(self, request: web.Request) -> web.StreamResponse:
        if request.method == "POST":
            made = await request.json()
            name = made["metadata"]["name"]
            if self.refusal:
                return _status(403, self.refusal)
            if "dryRun" in request.query:
                return web.json_response(made, status=201)
            if name in self.pods:
                return _status(409, f'pods "{name}" already exists')
            if self.conflicts:
                self.conflicts -= 1
                return _status(409, "Operation cannot be fulfilled on resourcequotas: the object has been modified")
            await self.making.wait()
            made["status"] = {"phase": "Pending"}
            made["metadata"]["uid"] = f"uid-{self._version}"
            made["metadata"]["creationTimestamp"] = "2026-11-28T10:00:00Z"
            self.pods[name] = made
            self._tell("ADDED", made)
            if self.lost_answers:
                self.lost_answers -= 1
                return web.Response(status=504, text="upstream timed out")
            return web.json_response(made, status=201)
        if "watch" in request.query:
            return await self._watch(request)
        body = {"metadata": {"resourceVersion": str(self._version)}, "items": list(self.pods.values())}
        return web.json_response(body)

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        for version, line in self._told:
            if version > int(request.query["resourceVersion"]):
                queue.put_nowait(line)
        self._watches.append(queue)
        answer = web.StreamResponse()
        await answer.prepare(request)
        try:
            while not self.brief and (line := await queue.get()):
                await answer.write(line)
        finally:
            self._watches.remove(queue)
        return answer

    async def _pod(self, request: web.Request, name: str) -> web.StreamResponse:
        pod = self.pods.get(name)
        if pod is None:
            return _status(404, f'pods "{name}" not found')
        if request.method == "DELETE":
            grace = (await request.json())["gracePeriodSeconds"]
            waits = pod["status"]["phase"] == "Pending"  # no node has it: it goes at once
            pod["metadata"] |= {"deletionTimestamp": "now", "deletionGracePeriodSeconds": 0 if waits else grace}
            self._tell("MODIFIED", pod)
        elif request.method == "PATCH":
            gone_marks = (await request.json())["metadata"]["$deleteFromPrimitiveList/finalizers"]
            pod["metadata"]["finalizers"] = [mark for mark in pod["metadata"]["finalizers"] if mark not in gone_marks]
            self._tell("MODIFIED", pod)
        gone = not pod["metadata"].get("finalizers") and pod["metadata"].get("deletionGracePeriodSeconds") == 0
        if gone and name in self.pods:
            self.forget(name)
        return web.json_response(pod)


def _status(code: int, message: str) -> web.Response:
    return web.json_response({"kind": "Status", "message": message, "code": code}, status=code)


@asynccontextmanager
async def fake_api() -> AsyncIterator[FakeApi]:
    """Listens on the loopback, in this process."""
    made = FakeApi()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", made.handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.port = runner.addresses[0][1]
    try:
        yield made
    finally:
        made.cut_watches()
        await runner.cleanup()

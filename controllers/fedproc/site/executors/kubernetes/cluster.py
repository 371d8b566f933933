"""One namespace of a Kubernetes cluster, by its API: calls, and the one watch of this host's pods."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import yaml
from kubernetes_asyncio import config
from kubernetes_asyncio.client.api_client import ApiClient
from kubernetes_asyncio.client.configuration import Configuration
from kubernetes_asyncio.client.exceptions import ApiException

from fedproc.site.executors.base import ExecutorError
from fedproc.site.executors.kubernetes.pod_states import Pod
from fedproc.site.executors.kubernetes.refusals import cure_of
from fedproc.site.settings import KubernetesSettings

CALL_SECONDS = 30.0
WATCH_SECONDS = 300
"""after which a watch is asked for anew: a connection that died without a word is noticed by then"""
GONE, CONFLICT, TOO_OLD = 404, 409, 410
_UNKNOWN_TO_IT = 401
_LONGEST_ANSWER = 64 << 20
_LONGEST_EVENT = 8 << 20
_NOT_A_REFUSAL = (408, 429, 500, 502, 503, 504)
_FAULTS = (aiohttp.ClientError, OSError, TimeoutError, ApiException)
_STRATEGIC_PATCH = "application/strategic-merge-patch+json"
_FROM_FINALIZERS = "$deleteFromPrimitiveList/finalizers"
"""of that kind of patch: others' marks (a queue's, a policy engine's) stay"""
CODE = "system_fault.kubernetes"


class ClusterAwayError(ExecutorError):
    """Its API server does not answer, or cannot now: what it was given goes on."""


class ClusterRefusedError(ExecutorError):
    """It said no; ``status`` is HTTP's, and ``cure`` what to do about it, where that is known."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        self.cure = cure_of(message)
        super().__init__(f"Kubernetes: {message}{self.cure and f' ({self.cure})'}", code=CODE)


@dataclass
class _Connection:
    """What the settings said when it was made. It stays until nobody uses it: others' calls may be on their way."""

    client: ApiClient
    users: int = 0
    replaced: bool = False


class Cluster:
    """Calls the API server. All raise :class:`ClusterAwayError` and :class:`ClusterRefusedError`."""

    def __init__(self, settings: KubernetesSettings) -> None:
        self._settings = settings
        self._connection: _Connection | None = None
        self._connecting = asyncio.Lock()
        self.namespace = settings.namespace

    async def get(self, path: str, **query: str) -> dict[str, Any]:
        return await self._call("GET", path, query=query)

    async def create(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return await self._call("POST", path, body=body)

    async def create_pod(self, pod: Mapping[str, Any], *, trial: bool = False) -> dict[str, Any]:
        """Make it; a ``trial`` asks all that decide about pods, and makes none."""
        return await self._call("POST", self._pods(), query={"dryRun": "All"} if trial else {}, body=pod)

    async def pod(self, name: str) -> Pod | None:
        """As it is now; None if there is none."""
        try:
            return await self.get(self._pods(name))
        except ClusterRefusedError as error:
            if error.status == GONE:
                return None
            raise

    async def delete_pod(self, name: str, grace: int) -> None:
        """Have it ended within ``grace`` seconds; what is gone stays gone. 0 is for one of which nothing runs."""
        await self._forgiving("DELETE", self._pods(name), {"gracePeriodSeconds": grace})

    async def let_go(self, name: str, mark: str) -> None:
        """Take our mark off a pod, so that it goes once it is deleted."""
        await self._forgiving("PATCH", self._pods(name), {"metadata": {_FROM_FINALIZERS: [mark]}})

    async def pods(self, selector: str) -> tuple[list[Pod], str]:
        """This label's pods, and the version from which :meth:`changes` goes on."""
        found = await self.get(self._pods(), labelSelector=selector)
        meta = found.get("metadata")
        version = str(meta.get("resourceVersion", "")) if isinstance(meta, dict) else ""
        return [item for item in found.get("items") or () if isinstance(item, dict)], version

    async def changes(self, selector: str, version: str) -> AsyncIterator[tuple[str, Pod]]:
        """``ADDED``, ``MODIFIED`` or ``DELETED`` and the pod, from ``version`` on, until the server ends it."""
        query = {
            "watch": "1",
            "labelSelector": selector,
            "resourceVersion": version,
            "timeoutSeconds": str(WATCH_SECONDS),
        }
        within = aiohttp.ClientTimeout(sock_read=WATCH_SECONDS + 30)
        try:
            async with self._answer("GET", self._pods(), query, None, within) as answer:
                if answer.status >= 300:
                    raise _refusal(answer.status, await answer.read())
                async for event in _events(answer.content):
                    yield event
        except _FAULTS as error:
            raise self._away(error) from error

    async def close(self) -> None:
        """Disconnect; calls that are on their way end."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.client.close()

    def policies(self, name: str = "") -> str:
        """The path of the namespace's NetworkPolicies."""
        return f"/apis/networking.k8s.io/v1/namespaces/{self.namespace}/networkpolicies" + (f"/{name}" if name else "")

    # -- calls -----------------------------------------------------------------------------------

    def _pods(self, name: str = "") -> str:
        return f"/api/v1/namespaces/{self.namespace}/pods" + (f"/{name}" if name else "")

    async def _forgiving(self, method: str, path: str, body: Mapping[str, Any]) -> None:
        try:
            await self._call(method, path, body=body)
        except ClusterRefusedError as error:
            if error.status != GONE:
                raise

    async def _call(
        self, method: str, path: str, *, query: Mapping[str, str] | None = None, body: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        status, text = await self._asked(method, path, query or {}, body)
        if status == _UNKNOWN_TO_IT:  # what it knew this host by has ended, and may have been renewed on disk
            status, text = await self._asked(method, path, query or {}, body)
        if status >= 300:
            raise _refusal(status, text)
        return _object(text)

    async def _asked(self, method: str, path: str, query: Mapping[str, str], body: Any) -> tuple[int, bytes]:
        parts, size = [], 0
        try:
            async with asyncio.timeout(CALL_SECONDS):
                async with self._answer(method, path, query, body, None) as answer:
                    async for part in answer.content.iter_any():
                        parts.append(part)
                        if (size := size + len(part)) > _LONGEST_ANSWER:
                            break
        except _FAULTS as error:
            raise self._away(error) from error
        return answer.status, b"".join(parts)

    @asynccontextmanager
    async def _answer(
        self, method: str, path: str, query: Mapping[str, str], body: Any, within: aiohttp.ClientTimeout | None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        kind = _STRATEGIC_PATCH if method == "PATCH" else "application/json"
        async with self._connected() as connection:
            answer: aiohttp.ClientResponse = await connection.client.call_api(
                path,
                method,
                query_params=list(query.items()),
                header_params={"Accept": "application/json", "Content-Type": kind, "User-Agent": "fedproc"},
                body=dict(body) if body is not None else None,
                auth_settings=["BearerToken"],
                _preload_content=False,
                _request_timeout=within or CALL_SECONDS,
            )
            try:
                if answer.status == _UNKNOWN_TO_IT and self._connection is connection:
                    connection.replaced, self._connection = True, None
                yield answer
            finally:
                answer.close()

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[_Connection]:
        async with self._connecting:
            if self._connection is None:
                async with asyncio.timeout(CALL_SECONDS):  # a kubeconfig may name a program to ask, and that may hang
                    self._connection = _Connection(ApiClient(await _configuration(self._settings)))
            connection = self._connection
            connection.users += 1
        try:
            yield connection
        finally:
            connection.users -= 1
            if connection.replaced and not connection.users:
                await connection.client.close()

    def _away(self, error: BaseException) -> ClusterAwayError:
        silent = f"no answer in {CALL_SECONDS:g} s" if isinstance(error, TimeoutError) else type(error).__name__
        reason = str(error) or silent
        return ClusterAwayError(
            f"the API server of Kubernetes does not answer ({reason}); its jobs go on, and new ones wait for it",
            code=CODE,
        )


async def _configuration(settings: KubernetesSettings) -> Configuration:
    made = Configuration()
    try:
        if settings.kubeconfig is not None:
            await config.load_kube_config(
                str(settings.kubeconfig), settings.context, client_configuration=made, persist_config=False
            )
        else:
            config.load_incluster_config(client_configuration=made)  # type: ignore[no-untyped-call]
    except (config.ConfigException, OSError, yaml.YAMLError, ValueError) as error:
        where = settings.kubeconfig or "the service account of a pod"
        raise ExecutorError(
            f"no access to Kubernetes by {where} ({error}): name a kubeconfig that this user may read"
            " (kubernetes.kubeconfig)",
            code=CODE,
        ) from error
    return made


def _object(text: bytes) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ClusterAwayError(
            f"what answers as the API server of Kubernetes is none: {text[:100]!r}; its jobs go on", code=CODE
        )
    return found


def _refusal(status: int, text: bytes) -> ExecutorError:
    stated = _status_of(text)
    message = stated or text[:300].decode(errors="replace").strip() or f"status {status}"
    if status == _UNKNOWN_TO_IT:
        return ClusterAwayError(
            f"the API server of Kubernetes does not know this host's account ({message}): its token has expired, or was"
            " withdrawn; put a new one where the settings say (kubernetes.kubeconfig). Jobs go on",
            code=CODE,
        )
    if status in _NOT_A_REFUSAL or stated is None:
        return ClusterAwayError(f"the API server of Kubernetes cannot answer now ({status}: {message})", code=CODE)
    return ClusterRefusedError(status, message)


def _status_of(text: bytes) -> str | None:
    """What an API server says with a refusal; None for what is not one's, as a gateway's word that it finds nothing."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return str(found.get("message", "")) if isinstance(found, dict) and found.get("kind") == "Status" else None


async def _events(content: aiohttp.StreamReader) -> AsyncIterator[tuple[str, Pod]]:
    """A watch's lines, each a JSON object of any length up to :data:`_LONGEST_EVENT`."""
    rest = b""
    while chunk := await content.readany():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in filter(None, lines):
            event = _object(line)
            pod = event.get("object")
            if event.get("type") == "ERROR" or not isinstance(pod, dict):
                status = pod.get("code") if isinstance(pod, dict) else None
                raise _refusal(status if isinstance(status, int) else TOO_OLD, json.dumps(pod).encode())
            if (kind := event.get("type")) in ("ADDED", "MODIFIED", "DELETED"):
                yield kind, pod
        if len(rest) > _LONGEST_EVENT:
            raise ClusterAwayError("the API server of Kubernetes sends an event without end", code=CODE)

"""``fedproc orchestrator``: puts one host's services together and runs them until SIGTERM."""

from __future__ import annotations

import asyncio
import re
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from fedproc.common.errors import InvalidInputError
from fedproc.common.keys import read_keys
from fedproc.common.log import get_logger, log_json
from fedproc.site import settings
from fedproc.site.centre.api import Transfer
from fedproc.site.centre.broker import Broker
from fedproc.site.centre.egress import ProxyConnector
from fedproc.site.centre.identity import Identity, tls_context
from fedproc.site.centre.outbox import OutboxPublisher
from fedproc.site.connections.hub import Connections
from fedproc.site.data.folder import FolderDataApi
from fedproc.site.executors.base import Executor
from fedproc.site.jobs.orchestrator import Orchestrator
from fedproc.site.jobs.resources import Pool, measure
from fedproc.site.jobs.services import Host
from fedproc.site.journal import Journal
from fedproc.site.policy import rules
from fedproc.site.settings import SiteSettings
from fedproc.site.status.control import ControlSocket, Route
from fedproc.site.status.heartbeat import HeartbeatSender
from fedproc.site.status.host_check import HostCheck
from fedproc.site.tools.cache import Toolbox
from fedproc.site.tools.registry import make_store
from fedproc.site.tools.runtimes import make_runtimes

log = get_logger(__name__)


def serve(path: Path) -> None:
    """Run the orchestrator that the settings file describes. Raises :class:`InvalidInputError` before it starts."""
    loaded = settings.load(path)
    log_json(loaded.log_level, host=loaded.host)
    asyncio.run(_serve(loaded, path))


async def _serve(loaded: SiteSettings, path: Path) -> None:
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    context, egress = tls_context(loaded.centre.ca_file), ProxyConnector.from_settings(loaded.centre)
    async with egress.http_client(context, httpx.Timeout(30, connect=10)) as http:
        host = await _host(loaded, http, egress)
        try:
            await _run(host, path, ended, egress)
        finally:
            await host.journal.close()


async def _host(loaded: SiteSettings, http: httpx.AsyncClient, egress: ProxyConnector) -> Host:
    loaded.state.mkdir(parents=True, exist_ok=True)
    journal = Journal(loaded.journal_folder / "journal.sqlite")
    await journal.open()
    identity = Identity(loaded, http)
    transfer = Transfer(loaded.centre.api_url, identity, http)
    ends = loaded.connections
    return Host(
        settings=loaded,
        identity=identity,
        journal=journal,
        pool=Pool(measure(loaded.capacity, loaded.state)),
        toolbox=Toolbox(loaded.state / "tools", read_keys(loaded.centre.catalogue_keys), transfer),
        runtimes=make_runtimes(loaded, make_store(loaded, identity)),
        executor=_executor(loaded),
        data=FolderDataApi(loaded.datasets),
        transfer=transfer,
        policy=rules.load(loaded.policy),
        connections=Connections(ends, loaded.key, egress) if ends else None,
    )


def _executor(loaded: SiteSettings) -> Executor:
    if loaded.executor == "docker":
        from fedproc.site.executors.docker.executor import DockerExecutor

        return DockerExecutor(loaded.state / "containers", loaded.docker.socket)

    from fedproc.site.executors.sandbox import SandboxExecutor

    return SandboxExecutor(loaded.runner_folder)


async def _run(host: Host, path: Path, ended: asyncio.Event, egress: ProxyConnector) -> None:
    orchestrator = Orchestrator(host, read_keys(host.settings.centre.dispatch_keys))
    broker = Broker(host.settings, host.identity, orchestrator, egress)
    outbox = OutboxPublisher(host.journal, broker, host.identity)
    orchestrator.accept_jobs = broker.accept_jobs
    orchestrator.ring_outbox = outbox.ring
    check = HostCheck(host, path, orchestrator)
    heartbeat = HeartbeatSender(host, orchestrator, broker, check)
    check.ring = orchestrator.ring_heartbeat = heartbeat.ring
    _reload_on_hangup(host)
    if host.connections is not None:
        await host.connections.listen()
    await check.begin()
    await orchestrator.resume()
    hide = _show_numbers(host, orchestrator, broker)
    services = [
        broker.run(),
        outbox.run(),
        heartbeat.run(),
        check.run(),
        ControlSocket(host.settings.control_socket, _routes(host, orchestrator, check)).run(),
    ]
    tasks = [asyncio.create_task(service) for service in services]
    log.info("orchestrator.started", epoch=host.journal.epoch, executor=host.executor.name)
    try:
        waiting = asyncio.create_task(ended.wait())
        done, _ = await asyncio.wait([waiting, *tasks], return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.to_thread(hide)
        await orchestrator.close()
        if host.connections is not None:
            await host.connections.close()
    log.info("orchestrator.ended")


def _show_numbers(host: Host, orchestrator: Orchestrator, broker: Broker) -> Callable[[], None]:
    """Show ``/metrics`` if the settings name a port; what it returns ends that."""
    port = host.settings.metrics_port
    if port is None:
        return lambda: None
    from fedproc.site.status import metrics

    async def look() -> metrics.Standing:
        return metrics.Standing(
            accepting=orchestrator.held is None and not orchestrator.stopped and host.identity.clock.trusted,
            connected=broker.connected.is_set(),
            clock_skew=host.identity.clock.skew,
            jobs=Counter(job["state"] for job in orchestrator.status()),
            capacity=host.pool.capacity(),
        )

    try:
        return metrics.show(port, look)
    except OSError as fault:
        raise InvalidInputError(f"metrics_port {port}: {fault.strerror}; choose another") from fault


def _reload_on_hangup(host: Host) -> None:
    """SIGHUP: read the policy file again. A file with a fault changes nothing."""

    def reload() -> None:
        try:
            host.policy = rules.load(host.settings.policy)
            log.info("policy.reloaded")
        except InvalidInputError as fault:
            log.error("policy.not_reloaded", reason=fault.message)

    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reload)


def _routes(host: Host, orchestrator: Orchestrator, check: HostCheck) -> list[Route]:
    async def status(_match: re.Match[str], _body: dict[str, Any]) -> Any:
        return {
            "host": host.settings.host,
            "stopped": orchestrator.stopped,
            "held": orchestrator.held,
            "clock_skew_seconds": round(host.identity.clock.skew, 1),
            "capacity": host.pool.capacity().model_dump(mode="json"),
            "check": check.shown(),
            "jobs": orchestrator.status(),
        }

    async def releases(_match: re.Match[str], _body: dict[str, Any]) -> Any:
        return orchestrator.releases()

    async def decide(match: re.Match[str], body: dict[str, Any]) -> Any:
        decision, reason = body.get("decision"), body.get("reason")
        if decision not in ("release", "refuse") or not isinstance(reason, str):
            raise InvalidInputError("give decision ('release' or 'refuse') and reason (text)")
        await orchestrator.decide(match[1], release=decision == "release", reason=reason)
        return {"job": match[1], "decision": decision}

    async def switch(match: re.Match[str], _body: dict[str, Any]) -> Any:
        orchestrator.switch(stop=match[1] == "stop")
        return {"stopped": orchestrator.stopped}

    async def drain(_match: re.Match[str], _body: dict[str, Any]) -> Any:
        orchestrator.drain()
        return {"held": orchestrator.held, "jobs": len(orchestrator.status())}

    return [
        ("POST", re.compile("/drain"), drain),
        ("GET", re.compile("/status"), status),
        ("GET", re.compile("/releases"), releases),
        ("POST", re.compile("/releases/([a-z0-9-]+)"), decide),
        ("POST", re.compile("/(stop|start)"), switch),
    ]

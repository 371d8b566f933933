"""``fedproc orchestrator``: puts one host's services together and runs them until SIGTERM."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx

from fedproc.common.errors import InvalidInputError, SystemFaultError, UnavailableError
from fedproc.common.garbage import keep_what_is_loaded
from fedproc.common.keys import read_keys
from fedproc.common.log import get_logger, log_json
from fedproc.common.tasks import kept_up, watched
from fedproc.common.tls import client_context
from fedproc.contract.wire.messages import JobOrder
from fedproc.site import settings
from fedproc.site.centre.api import Transfer
from fedproc.site.centre.broker import Broker
from fedproc.site.centre.egress import ProxyConnector
from fedproc.site.centre.identity import Identity
from fedproc.site.centre.outbox import OutboxPublisher
from fedproc.site.centre.signals import Signals
from fedproc.site.centre.witness import CentreWitness
from fedproc.site.connections.hub import Connections
from fedproc.site.data.sources import data_api
from fedproc.site.executors.making import make_executor
from fedproc.site.jobs.holds import Holds
from fedproc.site.jobs.inbox import Inbox
from fedproc.site.jobs.logged import LoggedUploads
from fedproc.site.jobs.orchestrator import Orchestrator
from fedproc.site.jobs.overview import jobs_of
from fedproc.site.jobs.reconciliation import Reconciliation
from fedproc.site.jobs.record import JobRecord
from fedproc.site.jobs.resources.pool import Pool, measure
from fedproc.site.jobs.services import Services
from fedproc.site.journal import Journal
from fedproc.site.policy import policy_file
from fedproc.site.policy.engine import disclosure_rules
from fedproc.site.retention.keeper import Retention
from fedproc.site.settings import SiteSettings
from fedproc.site.status.control import ControlSocket
from fedproc.site.status.executor_watch import ExecutorWatch
from fedproc.site.status.heartbeat import HeartbeatSender
from fedproc.site.status.host_check import HostCheck
from fedproc.site.status.notices import NoticeSender, channels_of
from fedproc.site.status.releases import release_routes
from fedproc.site.status.routes import routes_for
from fedproc.site.tlog.entries import HostStarted
from fedproc.site.tlog.log import HostLog
from fedproc.site.tools.cache import ToolCache
from fedproc.site.tools.choosing import make_runtimes
from fedproc.site.tools.logged import tool_installed
from fedproc.site.tools.registry import make_registry

log = get_logger(__name__)

_LOG_SECONDS = 2.0
"""that the beginning waits for the transparency log"""


def serve(path: Path) -> None:
    """Run the orchestrator that the settings file describes. Raises :class:`InvalidInputError` before it starts."""
    loaded = settings.load(path)
    log_json(loaded.log_level, host=loaded.host)
    asyncio.run(_serve(loaded, path))


async def _serve(loaded: SiteSettings, path: Path) -> None:
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    context, egress = client_context(loaded.centre.ca_file), ProxyConnector.from_settings(loaded.centre)
    async with egress.http_client(context, httpx.Timeout(30, connect=10)) as http:
        services = await _services(loaded, http, egress)
        keep_what_is_loaded()
        try:
            await _run(_Daemon.of(services, path, egress), ended)
        finally:
            await services.journal.close()


async def _services(loaded: SiteSettings, http: httpx.AsyncClient, egress: ProxyConnector) -> Services:
    loaded.state.mkdir(parents=True, exist_ok=True)
    signals, journal = Signals(), Journal(loaded.journal_folder / "journal.sqlite")
    await journal.open()
    identity = Identity(loaded, http)
    transfer = Transfer(loaded.centre.api_url, identity, http)
    ends = loaded.connections
    return Services(
        settings=loaded,
        signals=signals,
        identity=identity,
        journal=journal,
        holds=Holds(loaded, journal, signals),
        pool=Pool(measure(loaded.capacity, loaded.state)),
        tool_cache=ToolCache(loaded.state / "tools", read_keys(loaded.centre.catalogue_keys), transfer),
        runtimes=make_runtimes(loaded, make_registry(loaded, identity)),
        executor=make_executor(loaded),
        data=data_api(
            loaded,
            signals.heartbeat.set,
            partial(_user_token, loaded.host, transfer),
            partial(_order_of, journal),
        ),
        transfer=transfer,
        policy=policy_file.load(loaded.policy),
        tlog=HostLog(loaded.tlog_folder, loaded.tlog_origin),
        connections=Connections(ends, loaded.key, egress) if ends else None,
    )


async def _user_token(host: str, transfer: Transfer, job: str) -> str | None:
    """The job's user's token for this host, exchanged by the centre now: it lives for minutes."""
    try:
        return (await transfer.grants(host, job)).token
    except UnavailableError as error:
        raise SystemFaultError(f"the user's token for this host could not be had: {error.message}") from error


async def _order_of(journal: Journal, job: str) -> JobOrder:
    return JobRecord.model_validate(await journal.known(job)).order


@dataclass(frozen=True)
class _Daemon:
    """What runs until the daemon ends."""

    services: Services
    orchestrator: Orchestrator
    broker: Broker
    outbox: OutboxPublisher
    check: HostCheck
    executor_watch: ExecutorWatch
    heartbeat: HeartbeatSender
    control: ControlSocket
    reviewers: ControlSocket | None
    notices: NoticeSender
    retention: Retention
    witness: CentreWitness

    @classmethod
    def of(cls, services: Services, path: Path, egress: ProxyConnector) -> _Daemon:
        loaded, signals = services.settings, services.signals
        orchestrator = Orchestrator(services)
        services.tlog.on_condition = services.holds.tlog_condition
        services.tool_cache.on_install = tool_installed(services.tlog)
        services.transfer.observer = LoggedUploads(services, lambda job: orchestrator.runs[job].record)
        reconciliation = Reconciliation(services, orchestrator)
        inbox = Inbox(services, orchestrator, reconciliation, read_keys(loaded.centre.dispatch_keys))
        broker = Broker(loaded, services.identity, inbox, egress, signals.accept_jobs)
        check, retention = HostCheck(services, path), Retention(services, orchestrator)
        executor_watch = ExecutorWatch(services)
        witness = CentreWitness(loaded.host, services.tlog, services.transfer)
        return cls(
            services=services,
            orchestrator=orchestrator,
            broker=broker,
            outbox=OutboxPublisher(services.journal, broker, services.identity, signals.outbox),
            check=check,
            executor_watch=executor_watch,
            heartbeat=HeartbeatSender(services, reconciliation, broker, check),
            control=ControlSocket(loaded.control_socket, routes_for(services, orchestrator, check, retention, witness)),
            reviewers=_reviewers_socket(services, orchestrator),
            notices=NoticeSender(loaded.host, orchestrator, channels_of(loaded, egress), loaded.notify.pause_seconds),
            retention=retention,
            witness=witness,
        )

    async def until(self, ended: asyncio.Event) -> None:
        """Run all of it until ``ended``, or until a socket of the site's own cannot be had."""
        loops = {
            "broker": self.broker.run,
            "outbox": self.outbox.run,
            "heartbeat": self.heartbeat.run,
            "host check": self.check.run,
            "executors": self.executor_watch.run,
            "retention": self.retention.run,
            "witness": self.witness.run,
            "notices": self.notices.run,
        }
        sockets = [socket.run() for socket in (self.control, self.reviewers) if socket is not None]
        tasks = [asyncio.create_task(one) for one in (*sockets, *(kept_up(*loop) for loop in loops.items()))]
        try:
            ending = asyncio.create_task(ended.wait())
            done, _ = await asyncio.wait([ending, *tasks], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def _reviewers_socket(services: Services, orchestrator: Orchestrator) -> ControlSocket | None:
    loaded = services.settings
    if loaded.reviewers_group is None:
        return None
    return ControlSocket(loaded.reviewers_socket, release_routes(services, orchestrator), loaded.reviewers_group)


async def _run(daemon: _Daemon, ended: asyncio.Event) -> None:
    services = daemon.services
    beginning = await _begin_log(services)
    _reload_on_hangup(services, daemon.orchestrator)
    if services.connections is not None:
        await services.connections.listen()
    await daemon.check.begin()
    await daemon.executor_watch.begin()
    await daemon.orchestrator.resume()
    hide = _show_metrics(daemon)
    log.info("orchestrator.started", epoch=services.journal.epoch, executor=services.executor.name)
    try:
        await daemon.until(ended)
    finally:
        beginning.cancel()
        await asyncio.to_thread(hide)
        await daemon.orchestrator.close()
        if services.connections is not None:
            await services.connections.close()
    log.info("orchestrator.ended")


async def _begin_log(services: Services) -> asyncio.Task[None]:
    """A host whose log cannot be written begins all the same: what waits for it is held, and is shown.

    Its beginning is logged as soon as it can be, by the task that this gives.
    """
    services.policy, content = policy_file.read(services.settings.policy)
    task = watched(asyncio.create_task(_note_beginning(services, content)), "tlog.beginning_not_noted")
    await asyncio.wait({task}, timeout=_LOG_SECONDS)
    return task


async def _note_beginning(services: Services, content: bytes) -> None:
    await services.tlog.note_policy(content)
    await services.tlog.note_rules(disclosure_rules.EDITION, disclosure_rules.as_json())
    entry = HostStarted(
        host=services.settings.host,
        software=version("fedproc"),
        executor=services.executor.name,
        epoch=services.journal.epoch,
        policy=services.tlog.policy,
    )
    await services.tlog.append_persistently(entry, lambda _reason: None)


def _show_metrics(daemon: _Daemon) -> Callable[[], None]:
    """Show ``/metrics`` if the settings name a port; what it returns ends that."""
    services, port = daemon.services, daemon.services.settings.metrics_port
    if port is None:
        return lambda: None
    from fedproc.site.status import metrics

    async def sample() -> metrics.Gauges:
        return metrics.Gauges(
            accepting=services.holds.held is None and not services.holds.stopped and services.identity.clock.trusted,
            connected=daemon.broker.connected.is_set(),
            clock_skew=services.identity.clock.skew,
            jobs=Counter(_stage(job) for job in jobs_of(daemon.orchestrator.runs.values())),
            capacity=services.pool.capacity(),
            kept=daemon.retention.kept,
            log_writable=services.tlog.works,
            log_broken=daemon.witness.is_broken,
        )

    try:
        return metrics.show(port, sample)
    except OSError as error:
        raise InvalidInputError(f"metrics_port {port}: {error.strerror}; choose another") from error


def _stage(job: dict[str, Any]) -> str:
    return "ending" if job["ending"] else str(job["state"])


def _reload_on_hangup(services: Services, orchestrator: Orchestrator) -> None:
    """SIGHUP: read the policy file again. A file with a fault changes nothing."""
    tasks: set[asyncio.Task[None]] = set()
    alone = asyncio.Lock()

    def reload() -> None:
        task = watched(asyncio.create_task(_reload(services, orchestrator, alone)), "policy.not_noted")
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reload)


async def _reload(services: Services, orchestrator: Orchestrator, alone: asyncio.Lock) -> None:
    """The policy counts when the transparency log has it."""
    async with alone:
        try:
            policy, content = policy_file.read(services.settings.policy)
        except InvalidInputError as error:
            log.error("policy.not_reloaded", reason=error.message)
            return
        await services.tlog.note_policy(content)
        services.policy = policy
        orchestrator.stop_refused()
        log.info("policy.reloaded")
        services.signals.heartbeat.set()  # which tells the centre what is admitted now

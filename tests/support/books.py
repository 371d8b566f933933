"""The central database as API and relay keep it, without either of them running.

Everything is written through the functions that they use: requests are submitted, messages are claimed and
published (to a belt instead of a broker), and hosts speak by signed messages that are taken in.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from joserfc.jwk import ECKey
from sqlalchemy import Engine, Row, select

from fedproc.catalog.signing import sign_manifest, tool_digest
from fedproc.central.auth.tokens import Caller
from fedproc.central.db.engine import read_transaction, serialized_transaction, write_transaction
from fedproc.central.db.repositories import hosts as host_store
from fedproc.central.db.repositories import tools as tool_store
from fedproc.central.db.schema import events, experiments, jobs, outbox
from fedproc.central.experiments.granted import Granted
from fedproc.central.experiments.submission import submit
from fedproc.central.grants.answers import Finding, Terms
from fedproc.central.relay.ingest import Message, ingest
from fedproc.central.relay.ingested import IngestResult
from fedproc.central.relay.publisher import Publisher
from fedproc.central.settings import CentralSettings
from fedproc.central.tlog.sequencer import Sequencer
from fedproc.common.keys import Signer, public_jwk
from fedproc.contract.api.experiments import ExperimentRequest
from fedproc.contract.api.hosts import HostEnrolment
from fedproc.contract.states import TERMINAL, JobState
from fedproc.contract.times import now
from fedproc.contract.tool.tool import Manifest, Tool
from fedproc.contract.wire.datasets import OfferedDataset
from fedproc.contract.wire.jws import CENTRAL, seal, unseal
from fedproc.contract.wire.messages import (
    Capacity,
    Heartbeat,
    Record,
    Snapshot,
    Wire,
)
from fedproc.contract.wire.open_jobs import open_jobs_digest

_NOTHING = Granted()
HOSTS = {"UB": ["data"], "BSC": ["data"], "FORTH": ["data", "compute"], "EUCAIM": ["aggregator"]}
DATASETS = ("cohort", "images")
_CAPACITY = Capacity(cpus=4, cpus_free=4, memory=8 << 30, memory_free=8 << 30, disk=1 << 40, disk_free=1 << 40)


class Belt:
    """In the place of a channel to the broker: keeps what is published, in order, as (host, raw)."""

    def __init__(self) -> None:
        self.carried: list[tuple[str, bytes]] = []

    async def publish(self, exchange: str, routing_key: str, body: bytes, **_: Any) -> None:
        self.carried.append((routing_key, body))


class Hosts:
    """The hosts' side: their keys, and the messages that they sign."""

    def __init__(self) -> None:
        self.keys = {host: ECKey.generate_key("P-256") for host in HOSTS}
        self.sequences: dict[str, int] = {}

    def enrolment(self, host: str) -> HostEnrolment:
        address = "127.0.0.1:7000" if "aggregator" in HOSTS[host] else None
        return HostEnrolment(roles=HOSTS[host], public_key=public_jwk(self.keys[host]), address=address)  # type: ignore[arg-type]

    def seal(self, host: str, message: Wire) -> bytes:
        return seal(message, Signer(self.keys[host]), iss=host, aud=CENTRAL)

    def heartbeat(self, host: str, datasets: Sequence[str] | None = None, epoch: str = "one", **more: Any) -> Heartbeat:
        names = (DATASETS if "data" in HOSTS[host] else ()) if datasets is None else datasets
        offered = tuple(OfferedDataset(id=name, version="1", description=f"{name} of {host}") for name in names)
        usual: dict[str, Any] = {
            "host": host, "epoch": epoch, "time": now(), "interval": 10, "software": "0.1.0", "capacity": _CAPACITY,
            "executors": ("sandbox",), "datasets": offered, "open_jobs_digest": open_jobs_digest([]),
        }  # fmt: skip
        return Heartbeat(**{**usual, **more})

    def snapshot(self, job: Row[Any], state: str, epoch: str = "one", **more: Any) -> Snapshot:
        self.sequences[job.id] = self.sequences.get(job.id, 0) + 1
        usual = {"sequence": self.sequences[job.id], "times": {state: now()}}
        identity = {"host": job.host, "epoch": epoch, "job": job.id, "experiment": job.experiment}
        return Snapshot(**{**identity, **usual, "state": JobState(state), **more})

    def record(self, job: Row[Any], stream: str, sequence: int, epoch: str = "one", **more: Any) -> Record:
        return Record(
            host=job.host, epoch=epoch, job=job.id, experiment=job.experiment, stream=stream,  # type: ignore[arg-type]
            sequence=sequence, time=now(), **more,
        )  # fmt: skip


class Books:
    """One database with its hosts; the clock is real unless ``at`` is given."""

    def __init__(self, engine: Engine, settings: CentralSettings, dispatch_key: ECKey) -> None:
        self.engine = engine
        self.settings = settings
        self.dispatch_key = dispatch_key
        self.hosts = Hosts()
        self.sequencer = Sequencer(engine, settings)
        self.changed: Callable[[], None] = lambda: None
        """called after each change: wakes whoever listens"""

    # -- what the API does

    def enrol_everyone(self) -> None:
        self.enrol(*HOSTS)
        self.take(*((host, self.hosts.seal(host, self.hosts.heartbeat(host))) for host in HOSTS))

    def enrol(self, *hosts: str) -> None:
        with write_transaction(self.engine) as connection:
            for host in hosts:
                enrolment = self.hosts.enrolment(host)
                host_store.enrol(connection, host, enrolment, enrolment.public_key, time.time())

    def add_tool(self, *tools: Tool, key: ECKey | None = None) -> None:
        with write_transaction(self.engine) as connection:
            for tool in tools:
                manifest = Manifest(tool=tool, files=())
                signed = sign_manifest(manifest, Signer(key or self.dispatch_key))
                digest = tool_digest(manifest)
                tool_store.add(connection, tool, digest=digest, signed=signed, bundle="0" * 64, now=time.time())

    def submit(self, sub: str = "rosa", at: float | None = None, granted: Granted = _NOTHING, **request: Any) -> str:
        caller = Caller(sub, sub.title(), frozenset({"researcher"}), None, time.time() + 60)
        with serialized_transaction(self.engine) as connection:
            asked = ExperimentRequest.model_validate(request)
            return submit(connection, self.settings, caller, asked, None, at or time.time(), granted=granted)

    def granted(self, dataset: str, **terms: str) -> Granted:
        """That a provider grants it, and what it tells."""
        one = Terms(**terms, binds=True)
        return Granted({dataset: Finding("eucaim", "granted", "", one, (one,))})

    # -- what the relay does

    def publisher(self, name: str = "relay-one") -> Publisher:
        return Publisher(self.engine, name, Signer(self.dispatch_key), self.settings.hold_seconds, self.sequencer)

    def dispatch(self, at: float | None = None) -> list[tuple[str, Wire]]:
        """Publish all that waits: the messages that hosts get, verified, in order."""
        belt = Belt()
        asyncio.run(self.publisher().publish_all(belt, at or time.time()))  # type: ignore[arg-type]
        self.changed()
        return [(host, self.opened(host, raw)) for host, raw in belt.carried]

    def opened(self, host: str, raw: bytes) -> Wire:
        return unseal(raw, {self.dispatch_key.thumbprint(): self.dispatch_key}, aud=host)[1]

    def take(self, *messages: tuple[str, bytes], at: float | None = None) -> IngestResult:
        """Take in what came through hosts' events queues: (host, raw) each."""
        traced = self.settings.tracing is not None
        taken = ingest(self.engine, [Message(*message) for message in messages], at or time.time(), traced)
        self.changed()
        return taken

    # -- what hosts do

    def beat(
        self, host: str, datasets: Sequence[str] | None = None, at: float | None = None, **more: Any
    ) -> IngestResult:
        return self.take((host, self.hosts.seal(host, self.hosts.heartbeat(host, datasets, **more))), at=at)

    def report(self, job: str, state: str, at: float | None = None, **more: Any) -> IngestResult:
        """The job's host reports the next snapshot of it."""
        row = self.job(job)
        return self.take((row.host, self.hosts.seal(row.host, self.hosts.snapshot(row, state, **more))), at=at)

    def bring(self, experiment: str, *states: str, task: str | None = None, **more: Any) -> None:
        """All jobs of an experiment (or of one task of it) that have not ended report these states in turn."""
        for state in states:
            for row in self.jobs(experiment):
                if row.state not in TERMINAL and task in {None, row.task}:
                    self.report(row.id, state, **more)

    def say(self, job: str, stream: str, sequence: int, **more: Any) -> IngestResult:
        """The job's host sends a record: metrics, or lines of a stream."""
        row = self.job(job)
        return self.take((row.host, self.hosts.seal(row.host, self.hosts.record(row, stream, sequence, **more))))

    # -- what stands there

    def jobs(self, experiment: str) -> Sequence[Row[Any]]:
        with read_transaction(self.engine) as connection:
            return connection.execute(select(jobs).where(jobs.c.experiment == experiment).order_by(jobs.c.id)).all()

    def job(self, job: str) -> Row[Any]:
        with read_transaction(self.engine) as connection:
            return connection.execute(select(jobs).where(jobs.c.id == job)).one()

    def job_on(self, experiment: str, host: str, task: str | None = None) -> Row[Any]:
        return next(row for row in self.jobs(experiment) if row.host == host and task in {None, row.task})

    def states(self, experiment: str) -> dict[str, str]:
        return {f"{row.task}@{row.host}": row.state for row in self.jobs(experiment)}

    def experiment(self, experiment: str) -> Row[Any]:
        with read_transaction(self.engine) as connection:
            return connection.execute(select(experiments).where(experiments.c.id == experiment)).one()

    def events(self, experiment: str) -> Sequence[Row[Any]]:
        with read_transaction(self.engine) as connection:
            return connection.execute(
                select(events).where(events.c.experiment == experiment).order_by(events.c.id)
            ).all()

    def outbox(self) -> Sequence[Row[Any]]:
        with read_transaction(self.engine) as connection:
            return connection.execute(select(outbox).order_by(outbox.c.id)).all()


def settings_in(folder: Path, database: str, **more: Any) -> tuple[CentralSettings, ECKey]:
    """Settings of a centre that lives in ``folder``, and its dispatch key."""
    key = ECKey.generate_key("P-256")
    path = folder / "dispatch.pem"
    path.write_bytes(key.as_pem(private=True))
    values: dict[str, Any] = {
        "database": database,
        "files": folder / "files",
        "runtime": folder / "run",
        "public_url": "http://centre.test",
        "dispatch_key": path,
        "catalogue_keys": [],
        "issuer": {"url": "http://issuer.test"},
        "broker": {"client_key": path},
    }
    return CentralSettings.model_validate({**values, **more}), key


def kinds(messages: Sequence[tuple[str, Wire]]) -> list[tuple[str, str]]:
    """(kind of message, host) of what was published."""
    return [(type(message).__name__, host) for host, message in messages]

"""The orchestrator: takes messages from the broker, journals them, and keeps one run per open job (D6.1)."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aio_pika.abc import AbstractIncomingMessage
from joserfc.jwk import ECKey

from fedproc.common.errors import FedprocError, UnreadableError
from fedproc.common.log import get_logger
from fedproc.contract.api.hosts import Inventory
from fedproc.contract.ids import JOB_PATTERN
from fedproc.contract.states import JobState
from fedproc.contract.times import now
from fedproc.contract.wire import jws, routing
from fedproc.contract.wire.messages import (
    AskInventory,
    Cancel,
    Finish,
    JobOrder,
    OpenJob,
    Revocation,
    Start,
    Unread,
    Wire,
    open_jobs_digest,
)
from fedproc.site.jobs.record import JobRecord
from fedproc.site.jobs.run import JobRun
from fedproc.site.jobs.services import Host
from fedproc.site.jobs.verdict import Verdict
from fedproc.site.journal import JournalError

log = get_logger(__name__)

AcceptJobs = Callable[[bool], None]
_STOP_FILE = "stopped"
_JOURNAL = "journal"
_DRAIN = "drain"


class Orchestrator:
    """Implements :class:`fedproc.site.centre.broker.Receiver`."""

    def __init__(self, host: Host, keys: dict[str, ECKey]) -> None:
        self._host = host
        self._keys = keys
        self._runs: dict[str, JobRun] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._stop_file = host.settings.state / _STOP_FILE
        self.accept_jobs: AcceptJobs = lambda accept: None
        self.ring_outbox: Callable[[str | None], None] = lambda awaited: None
        self.ring_heartbeat: Callable[[], None] = lambda: None
        self._holds: dict[str, str] = {}

    # -- start and end ---------------------------------------------------------------------------

    async def resume(self) -> None:
        """Take up every job that the journal has open, and sweep what ended jobs left behind."""
        await self._apply_revocations()
        for doc in await self._host.journal.open_jobs():
            self._run(JobRecord.model_validate(doc), taken_up=True)
        await self._sweep()
        if self.stopped:
            self.accept_jobs(False)

    async def close(self) -> None:
        """End all runs; the jobs' processes go on and are taken up by the next daemon."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _run(self, record: JobRecord, *, taken_up: bool = False) -> JobRun:
        run = JobRun(self._host, record, self._journalled, taken_up=taken_up)
        self._runs[record.job] = run
        task = run.begin()
        self._tasks.add(task)
        task.add_done_callback(lambda ended: self._ended(record.job, ended))
        return run

    def _ended(self, job: str, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._runs.pop(job, None)
        if not task.cancelled() and (fault := task.exception()):
            log.error("job.run_failed", exc_info=fault, job=job)

    async def _sweep(self) -> None:
        folder = self._host.settings.state / "jobs"
        names = await asyncio.to_thread(lambda: [p.name for p in folder.iterdir()] if folder.is_dir() else [])
        for name in names:
            if name in self._runs:
                continue
            doc = await self._host.journal.known(name)
            if doc is not None:
                await JobRun(self._host, JobRecord.model_validate(doc), self._journalled).clean()
            elif re.fullmatch(JOB_PATTERN, name):
                log.warning("job.unknown_ended", job=name)
                await self._host.take_away(name, {"job": name})

    # -- holding and stopping --------------------------------------------------------------------

    @property
    def stopped(self) -> bool:
        """The site's own switch: no job starts, whatever the centre says."""
        return self._stop_file.exists()

    def switch(self, *, stop: bool) -> None:
        """Stop everything here, or take jobs again. Works without the centre, and outlives a restart."""
        if stop:
            self._stop_file.write_text("stopped by the site\n")
            self.accept_jobs(False)
            for run in list(self._runs.values()):
                run.stop(Verdict(JobState.cancelled, "site.stopped", "the site stopped all work on this host"))
        else:
            self._stop_file.unlink(missing_ok=True)
            self._holds.pop(_DRAIN, None)
            self.accept_jobs(self.held is None)
        self.ring_heartbeat()

    def drain(self) -> None:
        """Take no new jobs, and let those that are here go on to their ends; until :meth:`switch` or a restart."""
        self.hold(_DRAIN, "its site drains this host: jobs go on to their ends, and no new ones are taken")

    @property
    def held(self) -> str | None:
        """Why no new jobs are taken just now, if so."""
        return "; ".join(self._holds.values()) or None

    def hold(self, cause: str, reason: str | None) -> None:
        """Take no new jobs while ``cause`` has a reason to; None lifts it."""
        before = self.held
        if reason is None:
            self._holds.pop(cause, None)
        else:
            self._holds[cause] = reason
        if (before is None) == (self.held is None):
            return
        if self.held is None:
            log.warning("jobs.accepting")
        else:
            log.error("jobs.held", reason=reason)
        self.accept_jobs(self.held is None and not self.stopped)
        self.ring_heartbeat()

    def _journalled(self, worked: bool, awaited: str | None = None) -> None:
        self.ring_outbox(awaited)
        fault = f"the journal in {self._host.settings.journal_folder} cannot be written"
        self.hold(_JOURNAL, None if worked else fault)

    async def probe_journal(self) -> None:
        """While holding: try to write, so that holding ends when the cause is gone."""
        if _JOURNAL not in self._holds:
            return
        try:
            await self._host.journal.write(
                lambda c: c.execute("INSERT OR REPLACE INTO meta VALUES ('probe', ?)", (now().isoformat(),)) and None
            )
        except JournalError:
            return
        self._journalled(True)

    # -- messages --------------------------------------------------------------------------------

    async def job(self, message: AbstractIncomingMessage) -> None:
        """Journal, then ack. What can never be read is dead-lettered; what cannot be written stays queued."""
        await self._receive(message, routing.jobs_queue(self._host.settings.host), (JobOrder,))

    async def control(self, message: AbstractIncomingMessage) -> None:
        """start, finish, cancel, inventory, revocation."""
        queue = routing.control_queue(self._host.settings.host)
        await self._receive(message, queue, (Start, Finish, Cancel, AskInventory, Revocation))

    async def _receive(self, message: AbstractIncomingMessage, queue: str, kinds: tuple[type[Wire], ...]) -> None:
        try:
            body = self._read(message.body, kinds)
            await self._take(body)
        except UnreadableError as fault:
            await self._dead_letter(message, queue, fault)
        except JournalError as fault:
            self.hold(_JOURNAL, fault.message)
            await message.nack(requeue=True)
        else:
            await message.ack()

    def _read(self, raw: bytes, kinds: tuple[type[Wire], ...]) -> Wire:
        envelope, body = jws.unseal(raw, self._keys, aud=self._host.settings.host)
        if not isinstance(body, kinds):
            raise UnreadableError(f"a {envelope.type!r} does not belong on this queue", code="unreadable.type")
        return body

    async def _take(self, body: Wire) -> None:
        match body:
            case JobOrder():
                await self._accept(body)
            case Cancel():
                await self._cancel(body)
            case Start() if run := self._runs.get(body.job):
                await run.start(body)
            case Finish() if run := self._runs.get(body.job):
                await run.finish()
            case AskInventory():
                await self._tell_inventory()
            case Revocation():
                await self._revoke(body)

    async def _accept(self, order: JobOrder) -> None:
        if order.job in self._runs:
            return
        record = JobRecord(order=order, times={JobState.accepted.value: now()})
        if self._host.identity.clock.trusted and order.deadlines.release_by < self._host.identity.clock.now():
            record.cancel = Cancel(job=order.job, code="expired", reason="it came after its last deadline")
        snapshot = record.snapshot(self._host.settings.host, self._host.journal.epoch)
        doc = record.model_dump(mode="json", exclude_defaults=True) | {"state": record.state.value}
        events = [("snapshot", snapshot.model_dump_json(exclude_defaults=True))]
        kept = await self._host.journal.accept(order.job, doc, events)
        if kept is not None:
            self.ring_outbox(None)
            log.info("job.accepted", job=order.job, experiment=order.experiment, task=order.task)
            if "cancel" in kept:
                record.cancel = Cancel.model_validate(kept["cancel"])
            self._run(record)

    async def _cancel(self, message: Cancel) -> None:
        if run := self._runs.get(message.job):
            await run.cancel(message)
        elif await self._host.journal.known(message.job) is None:
            await self._host.journal.bury(message.job, message.model_dump(mode="json"))
            if run := self._runs.get(message.job):  # its job was accepted meanwhile
                await run.cancel(message)

    async def _revoke(self, message: Revocation) -> None:
        """Journalled first, so that a restart lets nobody in again; told twice, it changes nothing."""
        await self._host.journal.revoke(message.host, message.key, message.revoked, message.at.timestamp())
        log.warning("revocation.received", peer=message.host, key=message.key, revoked=message.revoked)
        await self._apply_revocations()

    async def _apply_revocations(self) -> None:
        if self._host.connections is not None:
            await self._host.connections.revoke(await self._host.journal.revoked_keys())

    async def _dead_letter(self, message: AbstractIncomingMessage, queue: str, fault: UnreadableError) -> None:
        log.error("message.unreadable", code=fault.code, reason=fault.message)
        unread = Unread(
            host=self._host.settings.host,
            epoch=self._host.journal.epoch,
            code=fault.code,
            reason=fault.message,
            sha256=hashlib.sha256(message.body).hexdigest(),
            queue=queue,
        )
        try:
            await self._host.journal.emit([("unread", unread.model_dump_json(exclude_defaults=True))])
        except JournalError as broken:
            self.hold(_JOURNAL, broken.message)
            await message.nack(requeue=True)
            return
        self.ring_outbox(None)
        await message.reject(requeue=False)

    # -- reconciliation --------------------------------------------------------------------------

    def open_jobs(self) -> list[OpenJob]:
        """The inventory: every job that has not ended here."""
        return [
            OpenJob(job=run.record.job, state=run.record.state, sequence=run.record.sequence)
            for run in self._runs.values()
            if not run.record.ended
        ]

    def digest(self) -> str:
        """What the heartbeat says of the open jobs."""
        return open_jobs_digest([(entry.job, entry.state.value) for entry in self.open_jobs()])

    async def _tell_inventory(self) -> None:
        """Send the list and do as the centre answers; a failure is made good by the next question."""
        inventory = Inventory(epoch=self._host.journal.epoch, jobs=self.open_jobs())
        try:
            answer = await self._host.transfer.inventory(self._host.settings.host, inventory)
        except FedprocError as fault:
            log.warning("open_jobs.not_taken", reason=fault.message)
            return
        log.info("open_jobs.reconciled", cancel=len(answer.cancel), resend=len(answer.resend))
        for job in answer.cancel:
            await self._cancel(Cancel(job=job, code="reconciled", reason="the centre does not know this job any more"))
        for job in answer.resend:
            await self._resend(job)

    async def _resend(self, job: str) -> None:
        if run := self._runs.get(job):
            run.save()
            return
        doc = await self._host.journal.known(job)
        if doc is None:
            return
        record = JobRecord.model_validate(doc)
        snapshot = record.snapshot(self._host.settings.host, self._host.journal.epoch)
        await self._host.journal.emit([("snapshot", snapshot.model_dump_json(exclude_defaults=True))])
        self.ring_outbox(job)

    # -- what the site sees ----------------------------------------------------------------------

    def status(self) -> list[dict[str, Any]]:
        """Every open job in short, for ``fedproc site status``."""
        return [
            {
                "job": run.record.job,
                "experiment": run.record.order.experiment,
                "tool": run.record.order.tool.id,
                "task": run.record.order.task,
                "user": run.record.order.user.name or run.record.order.user.sub,
                "state": run.record.state.value,
                "waiting_for": run.record.waiting_for,
            }
            for run in self._runs.values()
        ]

    def releases(self) -> list[dict[str, Any]]:
        """What awaits a person's decision: the sealed files with their hashes."""
        jobs: Path = self._host.settings.state / "jobs"
        return [
            {
                **entry,
                "files": [
                    {"path": path, "sha256": digest, "file": str(jobs / entry["job"] / "sealed" / path)}
                    for path, digest in (self._runs[entry["job"]].record.sealed or {}).items()
                ],
                "release_by": self._runs[entry["job"]].record.order.deadlines.release_by.isoformat(),
            }
            for entry in self.status()
            if entry["state"] == JobState.awaiting_release
        ]

    async def decide(self, job: str, *, release: bool, reason: str) -> None:
        """Release or refuse a job's outputs. Raises :class:`FedprocError` if it does not await that."""
        run = self._runs.get(job)
        if run is None:
            raise FedprocError(f"no open job {job} on this host; `fedproc site release` lists what waits")
        await run.decide(release=release, reason=reason)

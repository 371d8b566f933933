"""What this host and the centre each take for its open jobs is compared, and made one."""

from __future__ import annotations

from fedproc.common.errors import FedprocError
from fedproc.common.log import get_logger
from fedproc.contract.api.hosts import OPEN_JOBS, OpenJobsReport
from fedproc.contract.states import TERMINAL
from fedproc.contract.wire.messages import Cancel
from fedproc.contract.wire.open_jobs import OpenJob, open_jobs_digest
from fedproc.site.jobs.orchestrator import Orchestrator
from fedproc.site.jobs.recovery import record_of
from fedproc.site.jobs.services import Services

log = get_logger(__name__)


class Reconciliation:
    """The host's side: it says which jobs are open, and does as the centre answers."""

    def __init__(self, services: Services, orchestrator: Orchestrator) -> None:
        self._services = services
        self._orchestrator = orchestrator

    def open_jobs(self) -> list[OpenJob]:
        """Every job that has not ended here."""
        return [
            OpenJob(job=run.record.job, state=run.record.state, sequence=run.record.sequence)
            for run in self._orchestrator.runs.values()
            if not run.record.ended
        ]

    def digest(self) -> str:
        """What the heartbeat says of the open jobs."""
        return open_jobs_digest([(entry.job, entry.state.value) for entry in self.open_jobs()])

    async def report(self) -> None:
        """Send the list and do as the centre answers; a failure is made good by the next question."""
        services, unsent = self._services, await self._unsent_ends()
        jobs = [*self.open_jobs(), *unsent.values()]
        if len(jobs) > OPEN_JOBS:
            log.error("open_jobs.too_many", jobs=len(jobs), most=OPEN_JOBS)
            return
        report = OpenJobsReport(epoch=services.journal.epoch, jobs=jobs)
        try:
            answer = await services.transfer.report_open_jobs(services.settings.host, report)
        except FedprocError as error:
            log.warning("open_jobs.not_taken", reason=error.message)
            return
        log.info("open_jobs.reconciled", cancel=len(answer.cancel), resend=len(answer.resend))
        for job in answer.cancel:
            reason = "the centre does not know this job any more"
            await self._orchestrator.cancel(Cancel(job=job, code="reconciled", reason=reason))
        for job in answer.resend:
            if job not in unsent:
                await self._resend(job)

    async def _unsent_ends(self) -> dict[str, OpenJob]:
        """Jobs that have ended here, as the centre has not been told: it must not take them for lost meanwhile."""
        found = map(_ended, await self._services.journal.waiting_snapshots())
        return {entry.job: entry for entry in found if entry is not None}

    async def _resend(self, job: str) -> None:
        if run := self._orchestrator.runs.get(job):
            run.save()
            return
        journal, record = self._services.journal, await record_of(self._services, job)
        if record is None:
            return
        await journal.emit([record.snapshot_event(self._services.settings.host, journal.epoch)])
        self._services.signals.outbox.publish(job)


def _ended(snapshot: str) -> OpenJob | None:
    try:
        entry = OpenJob.model_validate_json(snapshot)
    except ValueError:
        return None
    return entry if entry.state in TERMINAL else None

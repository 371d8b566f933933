"""What the host's transparency log says of a job, from the job's record; each is written before it is done."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping

from fedproc.common.errors import FedprocError
from fedproc.common.tlog.entries import canonical
from fedproc.common.tlog.pseudonyms import Pseudonyms
from fedproc.contract.api.files import NewUpload
from fedproc.contract.wire.crypt4gh import fingerprint
from fedproc.contract.wire.messages import JobOrder
from fedproc.contract.wire.release import PARTLY_CODE
from fedproc.site.centre.api import OnWait
from fedproc.site.connections.carrying import Meter
from fedproc.site.jobs.record import JobRecord
from fedproc.site.jobs.reviewing import Opinion
from fedproc.site.jobs.services import Services
from fedproc.site.jobs.verdict import Verdict
from fedproc.site.tlog.entries import (
    ConnectionOpened,
    DatasetUsed,
    FileLeaving,
    JobAccepted,
    JobEnded,
    JobStarted,
    OutputLeaving,
    OutputUploaded,
    ReleaseDecided,
    ReleaseReviewed,
    ToolUsed,
)

POLICY, PERSON = "policy", "person"
_FILES_AT_ONCE = 1000
"""of one release in one entry; a release of more has several"""
_DATASETS = 1000
_TERMS = ("project", "permit", "purpose")
_LONGEST = 100
"""characters of a version or a code"""


async def accepted(services: Services, order: JobOrder) -> JobAccepted:
    """Raises :class:`HostLogError` if the key by which the log names users is not to be had."""
    names = await services.tlog.pseudonyms()
    return JobAccepted(
        **_of(order),
        task=order.task,
        tool=_tool(order),
        datasets=tuple(_dataset(use.id, use.version) for use in order.datasets[:_DATASETS]),
        inputs=len(order.inputs),
        user=f"subject:{order.user.sub[:255]}" if services.policy.log_subjects else names.of("user", order.user.sub),
        project=names.unless_id("project", order.project),
        purpose=_purpose(services, names, order.purpose),
        told_by={name: order.told_by[name][:_LONGEST] for name in _TERMS if name in order.told_by},
        encrypt_to=_key(order),
    )


async def note_start(services: Services, record: JobRecord, streams: Iterable[str], on_wait: OnWait) -> None:
    """``streams``: what leaves of it while it runs. Waits while the log cannot be written, as all that follow."""
    record.streams = tuple(streams)
    entry = JobStarted(
        **_of(record.order),
        tool=_tool(record.order),
        datasets=tuple(_dataset(*used) for used in list(record.versions.items())[:_DATASETS]),
        executor=record.executor or services.executor.name,
        streams=record.streams,
        policy=services.tlog.policy,
    )
    await services.tlog.append_persistently(entry, on_wait)


async def note_refusal(services: Services, record: JobRecord, error: FedprocError, on_wait: OnWait) -> None:
    """That the sealed files may not leave."""
    for entry in await _decided(services, record, record.sealed or {}, "refused", error.code[:_LONGEST], on_wait):
        await services.tlog.append_persistently(entry, on_wait)


async def note_opinion(services: Services, record: JobRecord, opinion: Opinion, on_wait: OnWait) -> None:
    """What one person said."""
    reviewer = (await services.tlog.pseudonyms_persistently(on_wait)).of("reviewer", opinion.reviewer)
    decision = "released" if opinion.release else "refused"
    common = {**_of(record.order), "reviewer": reviewer, "decision": decision, "policy": services.tlog.policy}
    for files in _portions(opinion.files):
        entry = ReleaseReviewed.model_validate({**common, "files": files})
        await services.tlog.append_persistently(entry, on_wait)


def ended(record: JobRecord, verdict: Verdict) -> JobEnded:
    code = None if verdict.code is None else verdict.code[:_LONGEST]
    return JobEnded(**_of(record.order), state=verdict.state.value, code=code)


async def note_connection(services: Services, record: JobRecord, meter: Meter, on_wait: OnWait) -> None:
    limits = {"sends": meter.limits.sent, "receives": meter.limits.received, "rounds": meter.limits.rounds}
    entry = ConnectionOpened(**_of(record.order), task=meter.task, host=meter.host, budget=meter.budget, **limits)
    await services.tlog.append_persistently(entry, on_wait)


async def _decided(
    services: Services, record: JobRecord, hashes: Mapping[str, str], decision: str, code: str | None, on_wait: OnWait
) -> list[ReleaseDecided]:
    common = {
        **_of(record.order),
        "by": POLICY if record.decision is None else PERSON,
        "policy": services.tlog.policy,
        "reviewers": await _reviewers(services, record, on_wait),
        "rules": record.rules,
    }
    return [
        ReleaseDecided.model_validate({**common, "decision": decision, "code": code, "files": files})
        for files in _portions(hashes)
    ]


def _portions(hashes: Mapping[str, str]) -> list[list[FileLeaving]]:
    files = [FileLeaving(output=path.partition("/")[0], sha256=digest) for path, digest in sorted(hashes.items())]
    return [files[start : start + _FILES_AT_ONCE] for start in range(0, max(1, len(files)), _FILES_AT_ONCE)]


async def _reviewers(services: Services, record: JobRecord, on_wait: OnWait) -> list[str]:
    if record.decision is None or not record.decision.reviewers:
        return []
    names = await services.tlog.pseudonyms_persistently(on_wait)
    return [names.of("reviewer", each) for each in record.decision.reviewers]


class LoggedUploads:
    """Observes uploads: no byte of an output goes before it stands in the log who let it go.

    ``record_of`` gives the record of an open job.
    """

    def __init__(self, services: Services, record_of: Callable[[str], JobRecord]) -> None:
        self._services = services
        self._record_of = record_of

    async def begins(self, new: NewUpload, on_wait: OnWait) -> None:
        """Note the decision, unless it was noted about these very files, and then the file that goes."""
        record, log = self._record_of(new.job), self._services.tlog
        sealed = record.sealed if record.sealed is not None else {f"{new.output}/{new.path}": new.sha256}
        leaving = sealed if record.leaving is None else record.leaving
        about = hashlib.sha256(canonical([record.decision is None, leaving])).hexdigest()
        if record.noted != about:
            await self._note_decision(record, sealed, leaving, on_wait)
            record.noted = about
        fields = new.model_dump(include={"output", "sha256", "recipient", "plain_sha256"})
        key = _key(record.order) if new.plain_sha256 else None
        entry = OutputLeaving(**_of(record.order), bytes=new.size, encrypt_to=key, **fields)
        await log.append_persistently(entry, on_wait)

    async def _note_decision(
        self, record: JobRecord, sealed: Mapping[str, str], leaving: Mapping[str, str], on_wait: OnWait
    ) -> None:
        staying = {path: digest for path, digest in sealed.items() if path not in leaving}
        entries = await _decided(self._services, record, leaving, "released", None, on_wait)
        if staying:
            entries += await _decided(self._services, record, staying, "refused", PARTLY_CODE, on_wait)
        for entry in entries:
            await self._services.tlog.append_persistently(entry, on_wait)

    async def ended(self, new: NewUpload, file: str, on_wait: OnWait) -> None:
        fields = new.model_dump(include={"output", "sha256"})
        entry = OutputUploaded(**_of(self._record_of(new.job).order), file=file, **fields)
        await self._services.tlog.append_persistently(entry, on_wait)


def _of(order: JobOrder) -> dict[str, str]:
    return {"job": order.job, "experiment": order.experiment}


def _key(order: JobOrder) -> str | None:
    return fingerprint(order.encrypt_to) if order.encrypt_to else None


def _tool(order: JobOrder) -> ToolUsed:
    return ToolUsed(id=order.tool.id, version=order.tool.version[:_LONGEST], digest=order.tool.digest)


def _dataset(name: str, version: str | None) -> DatasetUsed:
    return DatasetUsed(id=name, version=None if version is None else version[:_LONGEST])


def _purpose(services: Services, names: Pseudonyms, purpose: str | None) -> str | None:
    """As it is where the site's policy names it: else it is a text that somebody wrote."""
    if purpose is None or purpose in services.policy.purposes:
        return purpose
    return names.unless_id("purpose", purpose)

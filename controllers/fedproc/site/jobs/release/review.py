"""A job's outputs from their sealing to their release: what waits for persons, what they say, and the clock of it.

What a person says is journalled before it counts, and stands in the transparency log before anything follows from it.
A daemon that is killed between any two of these steps goes on with the next one.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from fedproc.common.errors import RefusedError, SystemFaultError
from fedproc.common.files import sha256_of
from fedproc.common.log import Logger
from fedproc.contract.states import JobState
from fedproc.contract.tool.task import Task
from fedproc.contract.tool.tool import Tool
from fedproc.contract.wire.release import (
    PARTLY_RELEASED,
    REFUSED,
    RELEASED,
    TEXTS,
    UNDER_REVIEW,
    WITHHELD,
    ReleaseStage,
)
from fedproc.site.jobs import logged
from fedproc.site.jobs.record import JobRecord
from fedproc.site.jobs.release import listing, opinions
from fedproc.site.jobs.release.opinions import Word
from fedproc.site.jobs.release.room import with_room
from fedproc.site.jobs.release.stage_out import finish_artefacts, limit_of, refused_outputs, release
from fedproc.site.jobs.reviewing import Decision, Opinion, Review, WaitClock, first_of_each
from fedproc.site.jobs.services import Services
from fedproc.site.jobs.verdict import WithheldError
from fedproc.site.jobs.workspace import Workspace
from fedproc.site.jobs.writer import RecordWriter
from fedproc.site.policy.engine.findings import Finding
from fedproc.site.policy.policy_file import Policy

_SHORTEST, _LONGEST = 0.2, 60.0
"""seconds between two looks at the clock and the policy"""
_PATIENCE = 30.0
"""seconds that a person's word waits for a job that is just being taken up again"""


class Leaving:
    """The last part of one job's life. ``writer`` journals its record."""

    def __init__(
        self, services: Services, record: JobRecord, workspace: Workspace, writer: RecordWriter, log: Logger
    ) -> None:
        self._services = services
        self._record = record
        self._workspace = workspace
        self._writer = writer
        self._log = log
        self._changed = asyncio.Event()
        self._opened = asyncio.Event()
        self._task: Task | None = None
        self._strangers: list[str] = []
        self._needed: frozenset[str] = frozenset()
        self._taken: frozenset[str] = frozenset()
        self._policy = services.policy
        self._wait_clock = WaitClock()

    # -- the job's own way -----------------------------------------------------------------------

    async def run(self, tool: Tool, task: Task) -> None:
        """Seal the outputs, have them looked at, and send what may leave. Raises what ends the job otherwise."""
        record, sealed = self._record, self._workspace.sealed
        self._task, self._strangers = task, _strangers(tool, record)
        self._needed = _needed_elsewhere(tool, task)
        self._taken = _needed_elsewhere(tool, task, optional=True)
        await finish_artefacts(self._services, record, task, self._workspace, self._writer.wait_for)
        if record.sealed is None:
            wanted = [o for o in task.outputs if not (o.artefact_for and record.artefacts)]
            wait_for, seal = self._writer.wait_for, self._workspace.seal
            record.sealed = await with_room(wait_for, seal, wanted, sealed) if wanted else {}
            self._writer.save()
        try:
            record.outputs = await release(
                self._services,
                record,
                task,
                sealed,
                self._await_decision,
                self._writer.wait_for,
                self._needed,
                self._taken,
            )
        except RefusedError as error:
            await logged.note_refusal(self._services, record, error, self._writer.wait_for)
            if record.review is not None:
                self._show(WITHHELD if isinstance(error, WithheldError) else REFUSED)
            raise
        await listing.note_released(self._services, record, is_part=self.is_of_part)
        if record.review is not None:
            self._show(PARTLY_RELEASED if self.is_of_part else RELEASED)

    @property
    def is_of_part(self) -> bool:
        """Whether some of the outputs left, and some stay."""
        return self._record.leaving is not None and self._record.leaving != self._record.sealed

    async def _await_decision(self, policy: Policy, found: list[Finding]) -> None:
        """Until it is decided, or the policy is another one than that by which ``found`` was found."""
        record, self._policy = self._record, policy
        if record.state is not JobState.awaiting_release:
            record.enter(JobState.awaiting_release)
        review = self._open(found)
        self._show(UNDER_REVIEW)
        await self._writer.saved()
        self._log.info("release.waiting", until=self.until, files=len(review.asked), findings=len(review.found))
        self._opened.set()
        while record.decision is None:
            self._changed.clear()
            await self._note_opinions(review)
            if self._is_outdated():
                return
            if (decision := self._decision(review)) is not None:
                record.decision = decision
                await self._writer.saved()
                self._log.info("release.decided", released=decision.release, part=decision.is_of_part)
            else:
                await self._wait(review)

    def _is_outdated(self) -> bool:
        """Whether the site's policy was changed since it was opened: then nobody decides before it is opened anew."""
        if self._policy is not self._services.policy:
            self._opened.clear()
            self._changed.set()
        return self._policy is not self._services.policy

    def _open(self, found: list[Finding]) -> Review:
        """The review of before, if there is one, about what is found now."""
        record, task, clock = self._record, self._task, self._services.identity.clock
        assert task is not None
        review = record.review or Review(since=clock.now(), since_is_sure=clock.compared)
        kept, rule = refused_outputs(found), self._services.policy.review
        classes = {output.name: output.disclosure for output in task.outputs}
        asked = {path: classes[path.partition("/")[0]] for path in record.sealed or {}}
        review.asked = {
            path: max(rule.persons_for(of), review.asked.get(path, 1))
            for path, of in asked.items()
            if path.partition("/")[0] not in kept
        }
        review.classes = {name: of.value for name, of in classes.items()}
        review.found = [_as_kept(each, self._services.policy.least_count) for each in first_of_each(found)]
        review.strangers = self._strangers
        record.review = review
        return review

    def _decision(self, review: Review) -> Decision | None:
        """What persons decided. To keep what other tasks of the experiment read is to keep all: no result is made
        of fewer hosts than it says."""
        at = self._services.identity.clock.now()
        found = review.decision(self._services.policy.review, self._record.sealed or {}, at)
        if found is None or not self._needed & {path.partition("/")[0] for path in found.withheld}:
            return found
        return found.model_copy(update={"release": False, "hashes": self._record.sealed or {}, "withheld": {}})

    async def _note_opinions(self, review: Review) -> None:
        """All of them, those that come meanwhile, too: nothing is decided by a word that no log has."""
        while (number := next((n for n, each in enumerate(review.opinions) if not each.noted), None)) is not None:
            opinion = review.opinions[number]
            await logged.note_opinion(self._services, self._record, opinion, self._writer.wait_for)
            review.opinions[number] = opinion.model_copy(update={"noted": True})
            self._show(UNDER_REVIEW)
            await self._writer.saved()

    # -- the clock -------------------------------------------------------------------------------

    @property
    def until(self) -> datetime:
        """When what is not decided stays here: by the site's policy, or by the job's own last deadline."""
        review, last = self._record.review, self._record.order.deadlines.release_by
        if review is None:
            return last
        rule = self._services.policy.review
        return min(rule.after(review.since, rule.expire_days), last)

    async def _wait(self, review: Review) -> None:
        """Until somebody says something, or for a while. Raises :class:`WithheldError` when it has waited too long.

        The clock is the centre's, which jumps of this host's do not move; while that is not known, or differs much,
        no time passes.
        """
        clock, rule = self._services.identity.clock, self._services.policy.review
        if review.expired:
            raise WithheldError(TEXTS[WITHHELD])
        if self._wait_clock.advance(review, clock):
            self._show(UNDER_REVIEW)
        left = (self.until - clock.now()).total_seconds()
        if clock.compared and clock.trusted:
            if left <= 0:
                review.expired = True
                await self._writer.saved()
                self._log.warning("release.expired", until=self.until)
                return
            if not review.reminded and rule.after(review.since, rule.remind_days) <= clock.now():
                review.reminded = True
                self._log.warning("release.reminder", until=self.until)
                self._writer.note()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(max(left, _SHORTEST), _LONGEST)):
                await self._changed.wait()

    def _show(self, stage: str) -> None:
        """To the researcher."""
        record, review = self._record, self._record.review
        assert review is not None
        decided = record.decision.at if record.decision is not None else None
        until = self.until if stage == UNDER_REVIEW else None
        record.release = ReleaseStage(stage=stage, since=review.since, until=until, decided=decided)
        record.waiting_for = f"the site's release; {record.release.text}" if stage == UNDER_REVIEW else None
        self._writer.save()

    # -- what persons say ------------------------------------------------------------------------

    async def take(self, word: Word) -> dict[str, Any]:
        """Journal what a person says of the sealed files; returns what is open yet.

        Nobody's first word changes. Raises :class:`FedprocError` if none waits, if it was decided otherwise, if the
        bytes are not those that were looked at, or if it is not this person's to say.
        """
        await self._wait_until_open()
        record, rule, review = self._record, self._services.policy.review, self._record.review
        assert review is not None
        files = opinions.files_of(word, record.job, review, rule, record.sealed or {})
        await asyncio.to_thread(self._check_bytes, files)
        files = {path: digest for path, digest in files.items() if not opinions.was_said(word, path, review, rule)}
        self._check_open()
        if files:
            at = self._services.identity.clock.now()
            reason = word.reason.strip()
            review.opinions.append(
                Opinion(
                    reviewer=word.by.account,
                    at=at,
                    release=word.release,
                    files=files,
                    reason=reason,
                    listed=word.by.is_listed,
                )
            )
            self._writer.save()
        await self._writer.written()
        self._changed.set()
        open_ = [path for path, found in review.outcome(rule).items() if found is None]
        return {"job": record.job, "files": sorted(files), "open": sorted(open_)}

    async def _wait_until_open(self) -> None:
        record = self._record
        waits = record.state is JobState.awaiting_release and record.verdict is None and record.decision is None
        if waits and (self._is_outdated() or not self._opened.is_set()):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PATIENCE):
                    await self._opened.wait()
        self._check_open()

    def _check_open(self) -> None:
        record = self._record
        if record.decision is not None:
            was = "released" if record.decision.release else "refused"
            raise SystemFaultError(f"job {record.job} was {was} before ({record.decision.reason}); that stays")
        if record.state is not JobState.awaiting_release or record.verdict is not None or record.review is None:
            raise SystemFaultError(f"job {record.job} awaits no release; it is {record.state}")
        if record.review.expired:
            raise SystemFaultError(f"job {record.job}: nobody decided in time; its outputs stay here")
        if self._is_outdated():
            raise SystemFaultError(f"job {record.job}: the policy was changed; look at it again in a moment")

    def _check_bytes(self, files: Iterable[str]) -> None:
        """Blocks."""
        for path in files:
            if sha256_of(self._workspace.sealed / path) != (self._record.sealed or {}).get(path):
                raise SystemFaultError(
                    f"{path} is not as it was sealed: somebody changed it here", code="release.changed"
                )


def _as_kept(found: Finding, floor: int) -> dict[str, Any]:
    """With the limit that counts at this site."""
    return {"output": found.output, **found.as_fields(), "threshold": limit_of(found.rule, floor)}


def _strangers(tool: Tool, record: JobRecord) -> list[str]:
    """Those who may not decide: who made the tool, and who asked."""
    credits = (name for each in tool.biotools.credit for name in (each.name, each.orcidid))
    return [name for name in (*credits, record.order.user.sub, record.order.user.name) if name]


def _needed_elsewhere(tool: Tool, task: Task, *, optional: bool = False) -> frozenset[str]:
    """The outputs of a task that other tasks take, or, with ``optional``, also those that they may do without."""
    taken = [
        entry.output
        for other in tool.tasks
        for entry in other.inputs
        if entry.kind == "output" and entry.task == task.name and (optional or not entry.optional)
    ]
    return frozenset(output.name for output in task.outputs if output.name in taken or None in taken)

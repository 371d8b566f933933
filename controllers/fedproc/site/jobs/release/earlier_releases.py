"""What a job releases, held against what this host released before: findings for its people, and the ledger's entry."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable, Mapping

from fedproc.common.errors import RefusedError
from fedproc.common.log import get_logger
from fedproc.common.retry import Backoff
from fedproc.common.tasks import stoppable
from fedproc.contract.tool.leaving import OF_PERSONS
from fedproc.contract.tool.task import OutputDecl, Task
from fedproc.contract.wire.jws import canonical
from fedproc.contract.wire.messages import JobOrder
from fedproc.contract.wire.releasing import MOST_BUDGETS, BudgetLeft, Left, scopes_of
from fedproc.site.centre.api import OnWait
from fedproc.site.jobs.record import JobRecord
from fedproc.site.jobs.services import Services
from fedproc.site.policy.engine import disclosure_rules as rules
from fedproc.site.policy.engine.disclosure_rules import Rule
from fedproc.site.policy.engine.findings import Finding, Result
from fedproc.site.policy.ledger.claims import Answered, Claim, Cohort, Doubt, Terms
from fedproc.site.policy.ledger.file import LedgerError

log = get_logger(__name__)

WAITING = "this host's ledger of releases, which cannot be written; its site must see to its disk"
_DAY = 86_400.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 10.0
_NEARLY = 0.8
"""of a budget"""
_TEXTS: Mapping[Doubt, tuple[Rule, str]] = {
    Doubt.difference: (
        rules.DIFFERENCE,
        "an earlier release of this project or user was of the same persons but for a few, of whom both together tell",
    ),
    Doubt.unknown: (
        rules.UNKNOWN,
        "an earlier release of this project or user was of another version or part, and who is in which cannot be told",
    ),
    Doubt.repeat: (rules.REPEAT, "the same question on the same data was answered otherwise before"),
    Doubt.budget: (rules.BUDGET, "the project's or the user's budget of this dataset is spent"),
    Doubt.full: (rules.FULL, "the ledger has no room for another cohort"),
}


async def claim_of(services: Services, record: JobRecord, task: Task, hashes: Mapping[str, str]) -> Claim | None:
    """What leaves with ``hashes`` (by output and path), as the ledger sees it; None where it says nothing of persons.

    Raises OSError.
    """
    concerned = {output.name for output in task.outputs if _is_of_persons(output)}
    files = {path: digest for path, digest in hashes.items() if path.partition("/")[0] in concerned}
    return await _claim(services, record, files) if files and record.order.datasets else None


def _is_of_persons(output: OutputDecl) -> bool:
    return output.disclosure in OF_PERSONS or bool(output.statistics)


async def _claim(services: Services, record: JobRecord, files: Mapping[str, str]) -> Claim:
    order = record.order
    cohorts = [await _cohort(services, record, use.id) for use in order.datasets]
    return Claim(order.job, _scopes(order), tuple(cohorts), _question(record), files)


def _scopes(order: JobOrder) -> tuple[str, ...]:
    granted = [grant.project for grant in order.grants if grant.project]
    if order.project is not None and "project" in order.told_by:
        granted.append(order.project)  # by a grant of its experiment, which may be at another host
    return scopes_of(order.user.sub, granted, order.project)


async def _cohort(services: Services, record: JobRecord, dataset: str) -> Cohort:
    version = record.versions.get(dataset, "")
    persons = await services.data.persons(dataset, version, record.job)
    return Cohort(dataset, version, persons.by)


def _question(record: JobRecord) -> str:
    """The same for the same task of the same tool with the same parameters, inputs, peers and data."""
    order = record.order
    asked = {
        "tool": order.tool.digest,
        "task": order.task,
        "parameters": order.parameters,
        "inputs": sorted([ref.input or "", ref.path, ref.sha256] for ref in order.inputs),
        "hosts": {task: list(hosts) for task, hosts in order.hosts.items()},
        "datasets": record.versions,
    }
    return hashlib.sha256(canonical(asked)).hexdigest()


def _terms(services: Services) -> Terms:
    rule = services.policy.ledger
    return Terms(services.policy.least_count, rule.budget, rule.window_days * _DAY, compares=rule.compare)


# -- before a release -----------------------------------------------------------------------------------


async def findings(
    services: Services, record: JobRecord, task: Task, hashes: Mapping[str, str] | None
) -> list[Finding]:
    """What the ledger has against it, which a person decides. A ledger that cannot be read is a finding, too."""
    try:
        claim = await claim_of(services, record, task, hashes or {})
        if claim is None:
            return []
        found = await stoppable(_checked, services, claim)
    except (LedgerError, OSError) as error:
        log.error("ledger.not_read", job=record.job, reason=str(error))
        return [
            Finding(output, rules.CHECKED, Result.review, "it could not be held against earlier releases")
            for output in _outputs(hashes or {})
        ]
    return [
        Finding(output, *_finding(doubt))
        for doubt in sorted(found.doubts)
        for output in sorted(found.outputs if doubt is Doubt.repeat else _outputs(claim.files))
    ]


def _checked(services: Services, claim: Claim, _flag: object = None) -> Answered:
    return services.ledger.check(claim, _terms(services))


def _finding(doubt: Doubt) -> tuple[Rule, Result, str]:
    rule, text = _TEXTS[doubt]
    return rule, Result.review, text


def _outputs(paths: Iterable[str]) -> list[str]:
    return sorted({path.partition("/")[0] for path in paths})


async def note(services: Services, record: JobRecord, task: Task, hashes: Mapping[str, str], on_wait: OnWait) -> bool:
    """Have the ledger hold what leaves now: it is on the disk when this returns. Waits while it cannot be written.

    False if nobody decided about it, and another job of the project has released something meanwhile, so that a person
    must look: then it holds nothing of it.
    """
    backoff, waited = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE), False
    while True:
        try:
            claim = await claim_of(services, record, task, hashes)
            found = claim is None or await asyncio.to_thread(_noted, services, record, claim)
            break
        except (LedgerError, OSError) as error:
            log.error("ledger.not_written", job=record.job, reason=str(error))
            on_wait(WAITING)
            waited = True
            await asyncio.sleep(backoff.pause())
    if waited:
        on_wait(None)
    return found


def _noted(services: Services, record: JobRecord, claim: Claim) -> bool:
    if record.decision is not None:
        services.ledger.note(claim)
        return True
    return not services.ledger.reserve(claim, _terms(services)).doubts


# -- what leaves by connections -------------------------------------------------------------------------


async def note_connections(services: Services, record: JobRecord, task: Task, on_wait: OnWait) -> None:
    """A task with a connection releases to its peers what it makes of its data: its cohort is noted before it starts.

    Raises :class:`RefusedError` if it is one that differs by a few from a released one, and the site refuses these.
    """
    if not (task.connections or task.ports) or not record.order.datasets:
        return
    rule = services.policy.ledger
    claim = await _claim(services, record, {})
    if await _is_doubtful(services, record, claim):
        log.warning("ledger.difference_by_connection", job=record.job, connections=rule.connections)
        if rule.connections == "refuse":
            raise RefusedError(
                "what it would use here differs too little from what was used before here; use other data",
                code="policy.difference",
            )
    await _note_persistently(services, claim, on_wait)


async def _is_doubtful(services: Services, record: JobRecord, claim: Claim) -> bool:
    try:
        return bool((await stoppable(_checked, services, claim)).doubts)
    except LedgerError as error:
        log.error("ledger.not_read", job=record.job, reason=str(error))
        return True


async def _note_persistently(services: Services, claim: Claim, on_wait: OnWait) -> None:
    backoff = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)
    while True:
        try:
            await asyncio.to_thread(services.ledger.note, claim)
        except LedgerError as error:
            log.error("ledger.not_written", job=claim.job, reason=str(error))
            on_wait(WAITING)
            await asyncio.sleep(backoff.pause())
        else:
            return


# -- what is left ---------------------------------------------------------------------------------------


async def budgets(services: Services) -> tuple[BudgetLeft, ...] | None:
    """Those that are nearly or wholly spent, for the centre; None where the site does not tell, or nobody knows."""
    rule = services.policy.ledger
    if not services.policy.tell_release:
        return None
    try:
        spent = await asyncio.to_thread(services.ledger.spent, rule.window_days * _DAY)
    except LedgerError as error:
        log.error("ledger.not_read", reason=str(error))
        return None
    known = [(scope, dataset, _left(files, rule.budget)) for scope, dataset, files in spent]
    return tuple(
        BudgetLeft(scope=scope, dataset=dataset, left=left) for scope, dataset, left in known if left != "left"
    )[:MOST_BUDGETS]


def _left(files: int, budget: int) -> Left:
    if files >= budget:
        return "none"
    return "nearly" if files >= _NEARLY * budget else "left"

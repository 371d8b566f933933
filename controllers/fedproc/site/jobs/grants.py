"""The centre is asked whether a job's user may use its datasets: before they are laid out, while the job runs,
and before its results leave.

Only "granted" goes on. "Could not be asked" is waited for, no longer than the site's policy says, and then ends the
job; a grant that was withdrawn ends it at once. An order of a centre that knows no grants names none, and none are
asked for, unless the policy requires them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

from fedproc.common.errors import FedprocError, RefusedError, SystemFaultError, UnavailableError
from fedproc.common.log import get_logger
from fedproc.common.tasks import watched
from fedproc.contract.api.grants import JobGrants
from fedproc.contract.times import now
from fedproc.site.centre.api import OnWait, TransferError
from fedproc.site.jobs.record import JobRecord
from fedproc.site.jobs.services import Services
from fedproc.site.jobs.verdict import Verdict, verdict_of

log = get_logger(__name__)

_PAUSES = (1.0, 5.0, 30.0)
"""seconds between two questions while nobody can be asked"""


async def ask_first(services: Services, record: JobRecord, on_wait: OnWait) -> None:
    """Wait until the user may use the job's datasets.

    Raises :class:`RefusedError` with code ``grant.required``, ``grant.not_granted`` or ``grant.session_ended``, and
    :class:`SystemFaultError` with ``grant.not_asked``.
    """
    _check_required(services, record)
    if record.order.grants:
        await _until_granted(services, record, on_wait, "grant.not_granted")


async def ask_if_due(services: Services, record: JobRecord, on_wait: OnWait) -> None:
    """Ask again before the job starts, if it has waited for data or for others for too long since. Raises as
    :func:`ask_for_release` does."""
    again = timedelta(seconds=services.policy.grants.again_seconds)
    if record.order.grants and (record.granted is None or now() >= record.granted + again):
        await _until_granted(services, record, on_wait, "grant.withdrawn")


async def ask_for_release(services: Services, record: JobRecord, on_wait: OnWait) -> None:
    """Wait until the user may use the job's datasets, of which its results are.

    Where a person at the site has decided, days may have passed: that the user is signed out matters only to a site
    whose policy says ``fail``. Raises as :func:`ask_first` does, with ``grant.withdrawn``.
    """
    if record.order.grants:
        await _until_granted(services, record, on_wait, "grant.withdrawn", decided=record.decision is not None)


async def _until_granted(
    services: Services, record: JobRecord, on_wait: OnWait, withdrawn: str, *, decided: bool = False
) -> None:
    since, tries = now(), 0
    while (reason := await _ask(services, record, withdrawn, decided=decided)) is not None:
        _check_patience(services, since, reason)
        on_wait(f"whether its user may use the datasets: {reason}")
        await asyncio.sleep(_pause(services, tries, since))
        tries += 1
    on_wait(None)


@asynccontextmanager
async def asked_again(
    services: Services, record: JobRecord, save: Callable[[], object], stop: Callable[[Verdict], None]
) -> AsyncIterator[None]:
    """While the block runs, ask again as often as the policy says; ``stop`` ends the job that may not go on."""
    if not record.order.grants:
        yield
        return
    task = watched(asyncio.create_task(_watch(services, record, save, stop)), "grants.watch_ended")
    try:
        yield
    finally:
        task.cancel()


def _check_required(services: Services, record: JobRecord) -> None:
    named = {grant.dataset for grant in record.order.grants}
    missing = sorted({use.id for use in record.order.datasets} - named)
    if missing and services.policy.grants.required:
        raise RefusedError(
            f"this site requires a grant for each dataset, and the order names none for {', '.join(missing)}; ask the "
            "federation's operator which provider is asked about them",
            code="grant.required",
        )


async def _watch(
    services: Services, record: JobRecord, save: Callable[[], object], stop: Callable[[Verdict], None]
) -> None:
    """``granted`` is journalled, so that after a restart the clock goes on where it was."""
    tries = 0
    while True:
        granted = record.granted or record.times.get("running") or now()
        due = granted + timedelta(seconds=services.policy.grants.again_seconds)
        await asyncio.sleep(max((due - now()).total_seconds(), _pause(services, tries - 1, granted) if tries else 0.0))
        try:
            reason = await _ask(services, record, "grant.withdrawn")
            if reason is not None:
                tries += 1
                log.warning("grant.not_asked", job=record.job, reason=reason)
                _check_patience(services, granted, reason)
                continue
        except FedprocError as error:
            stop(verdict_of(error, log))
            return
        except Exception as error:
            log.exception("grant.unforeseen", job=record.job)
            stop(verdict_of(error))
            return
        tries = 0
        save()


async def _ask(services: Services, record: JobRecord, withdrawn: str, *, decided: bool = False) -> str | None:
    """Ask once: None if it is granted, else why nobody could be asked.

    Raises :class:`RefusedError` with code ``withdrawn`` or ``grant.session_ended``.
    """
    try:
        found = await services.transfer.grants(services.settings.host, record.job)
    except (UnavailableError, TransferError) as error:
        return error.message
    return _reason(services, record, found, withdrawn, decided=decided)


def _reason(services: Services, record: JobRecord, found: JobGrants, withdrawn: str, *, decided: bool) -> str | None:
    rule = services.policy.grants.session_ended
    if decided and rule == "wait":
        rule = "go_on"
    if found.answer == "not_granted":
        raise RefusedError(f"its user may not use its data: {found.reason}", code=withdrawn)
    if found.answer == "session_ended" and rule == "fail":
        raise RefusedError(f"this site asks for a session that goes on: {found.reason}", code="grant.session_ended")
    if found.answer == "granted" or (found.answer == "session_ended" and rule == "go_on"):
        record.granted = now()
        return None
    return found.reason or found.answer


def _check_patience(services: Services, since: datetime, reason: str) -> None:
    patience = services.policy.grants.patience_seconds
    if (now() - since).total_seconds() >= patience:
        raise SystemFaultError(
            f"whether its user may use its data could not be asked for {patience:g} s: {reason}; start it again",
            code="grant.not_asked",
        )


def _pause(services: Services, tries: int, since: datetime) -> float:
    """Longer from time to time, and never past the end of the patience."""
    left = services.policy.grants.patience_seconds - (now() - since).total_seconds()
    return max(0.05, min(_PAUSES[min(tries, len(_PAUSES) - 1)], left))

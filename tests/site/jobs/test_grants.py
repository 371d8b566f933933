"""A host asks the centre whether a job's user may use its datasets: before the job has them, and while it runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from tests.support.orchestrator import SECONDS, Host, S, order, record

from fedproc.common.errors import FedprocError, UnavailableError
from fedproc.contract.api.grants import JobGrants
from fedproc.contract.states import JobState
from fedproc.contract.times import now
from fedproc.contract.wire.datasets import DatasetGrant
from fedproc.contract.wire.messages import DatasetUse, JobOrder
from fedproc.site.centre.api import TransferError
from fedproc.site.jobs import grants
from fedproc.site.jobs.record import Decision, JobRecord
from fedproc.site.journal import Journal
from fedproc.site.policy.policy_file import GrantRule


class Centre:
    """In the place of the API: gives ``answers`` in turn, the last one again and again."""

    def __init__(self) -> None:
        self.answers: list[Any] = ["granted"]
        self.asked = 0

    async def grants(self, host: str, job: str) -> JobGrants:
        assert host == "UB"
        self.asked += 1
        found = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(found, Exception):
            raise found
        return JobGrants(job=job, answer=found, reason=f"the centre says {found}")


AWAY = UnavailableError("the API does not answer: connection refused")
UNKNOWN = TransferError("the API refused POST /hosts/UB/jobs: 404")


@pytest.fixture
async def host(tmp_path: Path, journal: Journal) -> AsyncIterator[Host]:
    host = Host(tmp_path, journal, ())
    host.services.transfer = cast(Any, Centre())
    yield host
    await host.orchestrator.close()


def centre(host: Host) -> Centre:
    return cast(Centre, host.services.transfer)


def rule(host: Host, **grants: Any) -> None:
    """What the site's policy says; quick, unless a test says otherwise."""
    usual = {"again_seconds": 0.5, "patience_seconds": 0.3, **grants}
    found = GrantRule.model_construct(**{**GrantRule().model_dump(), **usual})
    host.services.policy = host.services.policy.model_copy(update={"grants": found})


def granted_order() -> JobOrder:
    grant = DatasetGrant(dataset="cohort", provider="eucaim")
    return order().model_copy(update={"datasets": (DatasetUse(id="cohort"),), "grants": (grant,)})


async def started(host: Host) -> str:
    ordered = granted_order()
    await host.orchestrator.accept(ordered)
    await host.runs(ordered.job)
    return ordered.job


async def end_of(host: Host, ordered: JobOrder) -> tuple[JobState, str | None]:
    await host.orchestrator.accept(ordered)
    found = await host.ended(ordered.job)
    return found.state, found.code


async def test_job_whose_user_is_granted_runs(host: Host) -> None:
    rule(host, again_seconds=600)
    job = await started(host)
    assert centre(host).asked == 1
    assert host.orchestrator.runs[job].record.granted is not None


async def test_job_whose_grant_was_withdrawn_before_it_is_never_started(host: Host) -> None:
    rule(host)
    centre(host).answers = ["not_granted"]
    assert await end_of(host, granted_order()) == (S.refused, "grant.not_granted")
    assert host.executor.started == []


@pytest.mark.slow
async def test_job_whose_grant_is_withdrawn_in_mid_run_is_stopped(host: Host) -> None:
    rule(host)
    centre(host).answers = ["granted", "granted", "not_granted"]
    job = await started(host)
    found = await host.ended(job)
    assert (found.state, found.code) == (S.refused, "grant.withdrawn")
    assert host.executor.cancelled == [job]
    assert "the centre says" in (found.reason or "")


async def test_job_that_waited_for_long_is_asked_about_before_it_starts(host: Host) -> None:
    rule(host, again_seconds=0.0)
    centre(host).answers = ["granted", "not_granted"]
    assert await end_of(host, granted_order()) == (S.refused, "grant.withdrawn")
    assert host.executor.started == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("decided", "answer", "rule_of_site", "code"),
    [
        (False, "not_granted", "go_on", "grant.withdrawn"),
        (True, "not_granted", "go_on", "grant.withdrawn"),
        (False, "session_ended", "wait", "grant.not_asked"),
        (True, "session_ended", "wait", None),  # days may have passed
        (True, "session_ended", "fail", "grant.session_ended"),
        (True, AWAY, "wait", "grant.not_asked"),
    ],
)
async def test_results_leave_only_while_their_datasets_may_be_used(
    host: Host, decided: bool, answer: Any, rule_of_site: str, code: str | None
) -> None:
    rule(host, session_ended=rule_of_site)
    centre(host).answers = [answer]
    ended = record(S.awaiting_release)
    ended.order = granted_order()
    ended.decision = Decision(release=True, reason="fine", hashes={}) if decided else None
    if code is None:
        return await grants.ask_for_release(host.services, ended, lambda _: None)
    with pytest.raises(FedprocError) as caught:
        await grants.ask_for_release(host.services, ended, lambda _: None)
    assert caught.value.code == code


@pytest.mark.slow
@pytest.mark.parametrize("fault", [AWAY, UNKNOWN, "not_asked", "session_ended"])
async def test_job_of_which_nobody_can_be_asked_waits_and_then_fails(host: Host, fault: Any) -> None:
    rule(host)
    centre(host).answers = [fault]
    ordered = granted_order()
    await host.orchestrator.accept(ordered)
    async with asyncio.timeout(SECONDS):
        while not host.orchestrator.runs[ordered.job].record.waiting_for:
            await asyncio.sleep(0.01)
    assert "may use the datasets" in str(host.orchestrator.runs[ordered.job].record.waiting_for)
    found = await host.ended(ordered.job)
    assert (found.state, found.code) == (S.error, "grant.not_asked")
    assert host.executor.started == []


@pytest.mark.slow
async def test_job_starts_when_the_centre_can_be_asked_again(host: Host) -> None:
    rule(host, patience_seconds=60)
    centre(host).answers = [AWAY, "granted"]
    job = await started(host)
    assert host.orchestrator.runs[job].record.waiting_for is None


@pytest.mark.slow
@pytest.mark.parametrize("fault", [AWAY, "not_asked", "session_ended"])
async def test_running_job_of_which_nobody_can_be_asked_for_long_is_stopped(host: Host, fault: Any) -> None:
    rule(host, patience_seconds=0.5)
    centre(host).answers = ["granted", fault]
    job = await started(host)
    found = await host.ended(job)
    assert (found.state, found.code) == (S.error, "grant.not_asked")
    assert host.executor.cancelled == [job]


@pytest.mark.slow
async def test_running_job_outlives_an_api_that_was_away_for_a_while(host: Host) -> None:
    rule(host, patience_seconds=60)
    centre(host).answers = ["granted", AWAY, "granted"]
    job = await started(host)
    before = host.orchestrator.runs[job].record.granted
    async with asyncio.timeout(SECONDS):
        while host.orchestrator.runs[job].record.granted == before:
            await asyncio.sleep(0.01)
    assert host.orchestrator.runs[job].record.state is S.running


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "in mid-run"])
async def test_a_session_that_has_ended_ends_the_job_where_the_site_says_fail(host: Host, when: str) -> None:
    rule(host, session_ended="fail")
    centre(host).answers = ["session_ended"] if when == "before" else ["granted", "session_ended"]
    assert await end_of(host, granted_order()) == (S.refused, "grant.session_ended")


@pytest.mark.slow
async def test_a_session_that_has_ended_does_not_matter_where_the_site_says_go_on(host: Host) -> None:
    rule(host, session_ended="go_on")
    centre(host).answers = ["session_ended"]
    job = await started(host)
    async with asyncio.timeout(SECONDS):
        while centre(host).asked < 4:
            await asyncio.sleep(0.01)
    assert host.orchestrator.runs[job].record.state is S.running
    centre(host).answers = ["not_granted"]
    assert (await host.ended(job)).code == "grant.withdrawn"


async def test_after_a_restart_the_clock_of_a_running_job_goes_on_where_it_was(host: Host) -> None:
    rule(host, again_seconds=60, patience_seconds=120)
    centre(host).answers = [AWAY]
    before = record(S.running)
    before.order = granted_order()
    before.handle = {"job": before.job}
    before.granted = now() - timedelta(seconds=600)
    await host.has(before)
    await host.orchestrator.resume()
    found = await host.ended(before.job)
    assert (found.state, found.code) == (S.error, "grant.not_asked")


async def test_order_of_a_centre_that_knows_no_grants_runs_unasked(host: Host) -> None:
    rule(host)
    centre(host).answers = [AssertionError()]
    ordered = order()
    await host.orchestrator.accept(ordered)
    await host.runs(ordered.job)


async def test_a_site_that_requires_grants_refuses_an_order_without(host: Host) -> None:
    rule(host, required=True)
    bare = granted_order().model_copy(update={"grants": ()})
    assert await end_of(host, bare) == (S.refused, "grant.required")
    other = granted_order()
    two = other.model_copy(update={"datasets": (*other.datasets, DatasetUse(id="second"))})
    assert await end_of(host, two) == (S.refused, "grant.required")
    assert centre(host).asked == 0


def test_a_record_of_the_release_before_is_read(tmp_path: Path) -> None:
    known = record(S.running)
    values = known.as_json()
    assert "granted" not in values
    assert JobRecord.model_validate(values).granted is None

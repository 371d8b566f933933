"""The host's inventory: what the centre asks for when its books differ from the host's."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
from tests.support.orchestrator import Host, order

from fedproc.contract.api.hosts import OpenJobsAnswer, OpenJobsReport
from fedproc.contract.wire.messages import Cancel
from fedproc.site.jobs.reconciliation import Reconciliation
from fedproc.site.journal import Journal


class Centre:
    """Takes inventories, and answers each by ``say``."""

    def __init__(self) -> None:
        self.reports: list[OpenJobsReport] = []
        self.say = OpenJobsAnswer()

    async def report_open_jobs(self, _host: str, report: OpenJobsReport) -> OpenJobsAnswer:
        self.reports.append(report)
        return self.say


@pytest.fixture
def centre() -> Centre:
    return Centre()


@pytest.fixture
def host(tmp_path: Path, journal: Journal, centre: Centre) -> Host:
    made = Host(tmp_path, journal, gpus=())
    cast(Any, made.services).transfer = centre
    return made


async def ended(host: Host) -> str:
    """A job that was cancelled as it ran."""
    job = order()
    await host.orchestrator.accept(job)
    await host.runs(job.job)
    await host.orchestrator.cancel(Cancel(job=job.job, code="user", reason="enough"))
    await host.ended(job.job)
    return job.job


async def snapshots(host: Host, job: str) -> list[int]:
    return [entry.id for entry in await host.journal.outgoing(0) if job in entry.body and entry.kind == "snapshot"]


async def test_a_job_whose_end_waits_to_be_sent_is_named_with_its_end(host: Host, centre: Centre) -> None:
    job = await ended(host)
    await Reconciliation(host.services, host.orchestrator).report()
    (named,) = centre.reports[0].jobs
    assert (named.job, named.state) == (job, "cancelled")


async def test_what_waits_to_be_sent_is_not_put_there_once_more(host: Host, centre: Centre) -> None:
    job = await ended(host)
    before = await snapshots(host, job)
    centre.say = OpenJobsAnswer(resend=[job])
    await Reconciliation(host.services, host.orchestrator).report()
    assert await snapshots(host, job) == before


async def test_an_end_that_was_sent_is_named_no_more_and_sent_again_where_it_is_asked_for(
    host: Host, centre: Centre
) -> None:
    job = await ended(host)
    await host.journal.confirmed(await snapshots(host, job))
    centre.say = OpenJobsAnswer(resend=[job])
    await Reconciliation(host.services, host.orchestrator).report()
    assert centre.reports[0].jobs == []
    assert len(await snapshots(host, job)) == 1


async def test_snapshots_that_nobody_can_read_are_left_out(host: Host, centre: Centre) -> None:
    job = await ended(host)
    broken = [("snapshot", text) for text in ("{", "[]", '{"job": 1}', '{"job": "j-1", "state": "over"}')]
    await host.journal.emit(broken)
    await Reconciliation(host.services, host.orchestrator).report()
    assert [entry.job for entry in centre.reports[0].jobs] == [job]

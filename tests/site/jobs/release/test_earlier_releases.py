"""What a host releases by itself is held against what it released before: from the order to the upload.

The tool is whoever writes into the job's folder here; all else is the host's own.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.site.data.dicom_files import image, put, uid
from tests.support.orchestrator import Host, S, order

from fedproc.common.tlog.folder import ENTRIES
from fedproc.common.tlog.verification import read_entries
from fedproc.contract.api.files import NewUpload
from fedproc.contract.ids import new_id
from fedproc.contract.wire.messages import DatasetUse, JobOrder, User
from fedproc.contract.wire.releasing import BudgetLeft, scope_of
from fedproc.contract.wire.selection import Selection
from fedproc.site.data.folder import FolderDataApi
from fedproc.site.dataset_settings import DatasetSettings
from fedproc.site.jobs.logged import LoggedUploads
from fedproc.site.jobs.record import JobRecord
from fedproc.site.jobs.release import earlier_releases
from fedproc.site.journal import Journal
from fedproc.site.policy.engine import disclosure_rules
from fedproc.site.policy.ledger.file import FILE
from fedproc.site.policy.ledger.ledger import Ledger
from fedproc.site.policy.policy_file import Policy
from fedproc.site.tlog.uses import uses

pytestmark = pytest.mark.process

SECONDS = 30
DIGEST = "sha256:" + "a" * 64
SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["n", "mean", "sum_of_squares"],
    "properties": {"n": {"type": "integer"}, "mean": {"type": "number"}, "sum_of_squares": {"type": "number"}},
}
MEAN = {
    "name": "mean",
    "path": "mean.json",
    "disclosure": "aggregate",
    "content": {"type": "json", "json_schema": SCHEMA},
    "statistics": [
        {"statistic": "linear_aggregation", "persons": "n", "mean": "mean", "sum_of_squares": "sum_of_squares"}
    ],
}
TASK = {"inputs": [{"name": "cohort", "kind": "dataset"}], "outputs": [MEAN]}
PEOPLE = [(f"P{number:02}", 40 + 7 * number % 31) for number in range(60)]


class Sent:
    """The centre, as far as it takes files."""

    def __init__(self) -> None:
        self.files: list[NewUpload] = []
        self.contents: list[bytes] = []
        self.observer: LoggedUploads | None = None

    async def upload(self, new: NewUpload, source: Path, on_wait: Any) -> str:
        assert self.observer is not None
        await self.observer.begins(new, on_wait)
        self.files.append(new)
        self.contents.append(source.read_bytes())  # noqa: ASYNC240
        return new_id("f")


class Site:
    """A host with one dataset, a table, whose results leave by themselves where no rule finds something."""

    def __init__(self, folder: Path, journal: Journal, **settings: Any) -> None:
        self.host = Host(folder / "host", journal, ())
        self.data = folder / "cohort"
        self.data.mkdir()
        self.host.tools.want(of_task=TASK)
        self.host.executor.exit_code = 0
        self.sent = Sent()
        services = self.host.services
        services.transfer = self.sent  # type: ignore[assignment]
        self.sent.observer = LoggedUploads(services, lambda job: self.host.orchestrator.runs[job].record)
        services.data = FolderDataApi(
            {"cohort": DatasetSettings(path=self.data), "images": DatasetSettings(path=folder / "images")},
            folder / "host" / "datasets",
        )
        self.allow()
        self.describe(PEOPLE)

    def allow(self, **ledger: Any) -> None:
        line = {"id": "km", "digest": DIGEST, "release": {"aggregate": "automatic"}, "connections": []}
        policy = {"metrics": False, "tools": [line], "ledger": ledger, "review": {"sample": 0}}
        self.host.services.policy = Policy.model_validate(policy)

    def describe(self, people: Iterable[tuple[str, int]], person: str | None = "patient") -> None:
        columns = [{"name": "patient", "type": "text"}, {"name": "age", "type": "integer"}]
        given: dict[str, Any] = {"version": "1", "tables": {"cohort": "t.csv"}, "columns": columns}
        given |= {} if person is None else {"person": person}
        (self.data / "dataset.json").write_text(json.dumps(given))
        rows = "".join(f"{name},{age}\n" for name, age in people)
        (self.data / "t.csv").write_text("patient,age\n" + rows)

    def order(self, user: str = "rosa", project: str | None = "P", **more: Any) -> JobOrder:
        uses = more.pop("datasets", (DatasetUse(id="cohort"),))
        given = {"user": User(sub=user), "project": project, "datasets": uses, **more}
        return order().model_copy(update=given)

    async def runs(self, ordered: JobOrder, answer: Mapping[str, Any] | None = None) -> str:
        """The job as far as its outputs; it computes the mean of what it was given, unless it answers otherwise."""
        await self.host.orchestrator.accept(ordered)
        await self.host.runs(ordered.job)
        work = self.host.services.workspace(ordered.job).work
        (work / "output").mkdir(parents=True, exist_ok=True)
        (work / "output" / "mean.json").write_text(json.dumps(answer or self._mean()))
        self.host.executor.running[ordered.job].set()
        return ordered.job

    def _mean(self) -> dict[str, Any]:
        ages = [int(line.split(",")[1]) for line in (self.data / "t.csv").read_text().split()[1:]]
        mean = sum(ages) / len(ages)
        return {"n": len(ages), "mean": mean, "sum_of_squares": sum((age - mean) ** 2 for age in ages)}

    async def state(self, job: str) -> str:
        """What becomes of it: it ends, or waits for a person."""
        async with asyncio.timeout(SECONDS):
            while (run := self.host.orchestrator.runs.get(job)) is not None:
                if run.record.state is S.awaiting_release:
                    return "waits"
                await asyncio.sleep(0.01)
        return str(JobRecord.model_validate(await self.host.journal.known(job)).state)

    async def becomes(self, ordered: JobOrder, answer: Mapping[str, Any] | None = None) -> str:
        return await self.state(await self.runs(ordered, answer))


@pytest.fixture
async def site(tmp_path: Path, journal: Journal) -> AsyncIterator[Site]:
    made = Site(tmp_path, journal)
    yield made
    await made.host.orchestrator.close()


def rules_in(caplog: pytest.LogCaptureFixture) -> set[str]:
    """The rules that the host's log names."""
    return {str(each.msg["rule"]) for each in caplog.records if isinstance(each.msg, dict) and "rule" in each.msg}


async def test_mean_of_all_but_one_waits_for_a_person(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """DataSHIELD's case: n times one mean less n - 1 times the other is the age of one patient."""
    caplog.set_level("INFO")
    assert await site.becomes(site.order()) == "succeeded"
    assert len(site.sent.files) == 1
    site.describe(PEOPLE[1:])
    assert await site.becomes(site.order(user="vera")) == "waits"
    assert len(site.sent.files) == 1, "nothing of it went"
    assert rules_in(caplog) == {"ledger.difference"}


async def test_researcher_reads_nothing_of_it(site: Site) -> None:
    assert await site.becomes(site.order()) == "succeeded"
    site.describe(PEOPLE[1:])
    job = await site.runs(site.order())
    assert await site.state(job) == "waits"
    record = site.host.orchestrator.runs[job].record
    said = record.snapshot("UB", "one").model_dump_json()
    assert not [word for word in ("ledger", "differ", "earlier", "cohort", "few") if word in said.lower()], said


@pytest.mark.parametrize("others", ["P", "Q"], ids=["the same project", "another one, named by the same user"])
async def test_project_is_not_split_by_its_users_nor_by_its_name(site: Site, others: str) -> None:
    assert await site.becomes(site.order(user="rosa")) == "succeeded"
    site.describe(PEOPLE[1:])
    assert await site.becomes(site.order(user="rosa", project=others)) == "waits"
    assert await site.becomes(site.order(user="vera", project="elsewhere")) == "succeeded"


def test_project_that_a_grant_elsewhere_told_is_none_that_a_user_writes_down() -> None:
    told = {"project": "P", "told_by": {"project": "eucaim"}}
    granted, stated = (order().model_copy(update=each) for each in (told, {"project": "P"}))
    assert earlier_releases._scopes(granted)[0] == scope_of(project="P")
    assert earlier_releases._scopes(stated)[0] == scope_of(stated="P")


async def test_cohort_that_differs_by_many_or_by_nobody_leaves(site: Site) -> None:
    assert await site.becomes(site.order()) == "succeeded"
    site.describe(PEOPLE[20:])
    assert await site.becomes(site.order()) == "succeeded"
    site.describe(PEOPLE[:50])
    assert await site.becomes(site.order()) == "succeeded"
    assert await site.becomes(site.order()) == "succeeded", "the same question once more"
    assert len(set(site.sent.contents)) == 3


async def test_rows_are_persons_where_none_are_named(site: Site) -> None:
    site.describe(PEOPLE, person=None)
    assert await site.becomes(site.order()) == "succeeded"
    site.describe(PEOPLE[:-1], person=None)
    assert await site.becomes(site.order()) == "waits"


@pytest.mark.parametrize("broken", ["person", "table", "cell"])
async def test_what_cannot_be_told_waits_once_there_is_something_to_compare(site: Site, broken: str) -> None:
    def break_it(people: Iterable[tuple[str, int]]) -> None:
        site.describe(people, person="nobody" if broken == "person" else "patient")
        if broken == "table":
            (site.data / "t.csv").write_bytes(b"patient,age\n\xff\xfe\x00" + str(list(people)).encode())
        if broken == "cell":
            with (site.data / "t.csv").open("a") as table:
                table.write(",44\n")

    answer = {"n": 60, "mean": 41.5, "sum_of_squares": 6_000.0}
    break_it(PEOPLE)
    assert await site.becomes(site.order(), answer) == "succeeded", "there is nothing yet to hold it against"
    assert await site.becomes(site.order(), answer) == "succeeded", "the same version is of the same persons"
    break_it(PEOPLE[20:])
    assert await site.becomes(site.order(), answer | {"n": 40}) == "waits"


async def test_selections_of_images_are_compared_by_patient(site: Site, tmp_path: Path) -> None:
    for number in range(40):
        person = f"P{number:02}"
        put(
            tmp_path / "images" / person,
            image(
                PatientID=person, PatientName=person, StudyInstanceUID=uid(f"study {person}"),
                SeriesInstanceUID=uid(person), SOPInstanceUID=uid(f"{person} 0"), PatientAge=f"{number + 10:03}Y",
            ),
        )  # fmt: skip
    (tmp_path / "images" / "dataset.json").write_text("{}")

    def selecting(youngest: int) -> JobOrder:
        chosen = {"images": Selection(age_from=youngest)}
        return site.order(datasets=(DatasetUse(id="images"),), selections=chosen)

    answer = {"n": 30, "mean": 41.5, "sum_of_squares": 6_000.0}
    assert await site.becomes(selecting(20), answer) == "succeeded"
    assert await site.becomes(selecting(21), answer) == "waits"
    assert await site.becomes(selecting(30), answer | {"n": 20}) == "succeeded"
    assert await site.becomes(site.order(datasets=(DatasetUse(id="images"),)), answer | {"n": 40}) == "succeeded"


async def test_answer_that_is_drawn_anew_waits_and_the_same_bytes_cost_nothing(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    site.allow(budget=1)
    assert [await site.becomes(site.order()) for _ in range(3)] == ["succeeded"] * 3
    noisy = {"n": 60, "mean": 52.01, "sum_of_squares": 5_000.0}
    assert await site.becomes(site.order(), noisy) == "waits"
    assert rules_in(caplog) >= {"ledger.repeat"}


async def test_budget_is_spent_by_questions_and_told_coarsely(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    site.allow(budget=5)
    for number in range(5):
        assert await site.becomes(site.order(project=None, parameters={"n": number})) == "succeeded"
        told = await earlier_releases.budgets(site.host.services)
        assert told == {0: (), 1: (), 2: ()}.get(
            number,
            (BudgetLeft(scope=scope_of(user="rosa"), dataset="cohort", left="nearly" if number == 3 else "none"),),
        )
    assert await site.becomes(site.order(project=None, parameters={"n": 6})) == "waits"
    assert rules_in(caplog) == {"ledger.budget"}
    site.allow(budget=0)
    assert await site.becomes(site.order(user="vera", project=None)) == "waits", "a site may look at all of it"


async def test_what_is_released_is_noted_before_a_byte_leaves(site: Site) -> None:
    ledger = Ledger(site.host.services.ledger.folder)

    async def upload(new: NewUpload, source: Path, on_wait: Any) -> str:
        assert ledger.kept()[0] == 1
        return new_id("f")

    site.sent.upload = upload  # type: ignore[method-assign]
    assert await site.becomes(site.order()) == "succeeded"


def decisions(site: Site) -> list[dict[str, Any]]:
    path = site.host.services.tlog.folder / ENTRIES
    return [dict(entry.data) for entry in read_entries(path) if entry.kind == "release.decided"]


async def test_log_names_the_rules_that_decided_with_versions_and_limits(site: Site) -> None:
    every = {
        "id": "rules",
        "version": disclosure_rules.EDITION,
        "limits": {"floor": 10, "budget": 50, "window_days": 30.0},
    }
    assert await site.becomes(site.order()) == "succeeded"
    (released_by_rules,) = decisions(site)
    assert (released_by_rules["decision"], released_by_rules["rules"]) == ("released", [every])
    few = {"n": 9, "mean": 41.5, "sum_of_squares": 600.0}
    assert await site.becomes(site.order(parameters={"n": 2}), few) == "refused"
    refused = decisions(site)[-1]
    assert (refused["decision"], refused["rules"]) == (
        "refused",
        [every, {"id": "persons.floor", "version": "1", "limits": {"threshold": 10}}],
    )
    (use,) = [each for each in uses(read_entries(site.host.services.tlog.folder / ENTRIES)) if each.state == "refused"]
    assert use.decisions[0]["rules"] == refused["rules"]


async def test_ledger_that_is_damaged_lets_nothing_leave_by_itself(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    assert await site.becomes(site.order()) == "succeeded"
    ledger = site.host.services.ledger
    ledger.close()
    for path in ledger.folder.glob(f"{FILE}*"):
        path.unlink()
    (ledger.folder / FILE).write_bytes(b"no database" * 1000)
    caplog.set_level("INFO")
    assert await site.becomes(site.order()) == "waits"
    assert rules_in(caplog) == {"look.checked"}
    assert len(site.sent.files) == 1


async def test_ledger_without_room_holds_up_what_leaves_until_there_is_some(site: Site) -> None:
    services, real = site.host.services, site.host.services.ledger.reserve
    full = True

    def reserve(*arguments: Any) -> Any:
        if full:
            raise earlier_releases.LedgerError("the ledger cannot be used: database or disk is full")
        return real(*arguments)

    services.ledger.reserve = reserve  # type: ignore[method-assign]
    job = await site.runs(site.order())
    async with asyncio.timeout(SECONDS):
        while site.host.orchestrator.runs[job].record.waiting_for != earlier_releases.WAITING:
            await asyncio.sleep(0.01)
    assert site.sent.files == []
    full = False
    assert await site.state(job) == "succeeded"


async def test_task_with_a_connection_is_noted_and_refused_where_the_site_says_so(site: Site) -> None:
    services = site.host.services
    record = JobRecord(order=site.order(), versions={"cohort": (await services.data.offers())[0].version})
    connected = site.host.tools._installed.manifest.tool.task("local").model_copy(update={"connections": ("any",)})
    await earlier_releases.note_connections(services, record, connected, lambda _: None)
    assert services.ledger.kept()[0] == 1
    site.describe(PEOPLE[1:])
    services.data = FolderDataApi({"cohort": DatasetSettings(path=site.data)}, site.data.with_name("again"))
    later = JobRecord(order=site.order(), versions={"cohort": (await services.data.offers())[0].version})
    site.allow(connections="refuse")
    with pytest.raises(earlier_releases.RefusedError, match="use other data") as refused:
        await earlier_releases.note_connections(services, later, connected, lambda _: None)
    assert refused.value.code == "policy.difference"
    assert not any(character.isdigit() for character in refused.value.message)
    site.allow()
    await earlier_releases.note_connections(services, later, connected, lambda _: None)
    assert services.ledger.kept()[0] == 2


async def test_ledger_has_no_patient_in_it(site: Site) -> None:
    assert await site.becomes(site.order()) == "succeeded"
    services = site.host.services
    services.ledger.close()
    with sqlite3.connect(services.ledger.folder / FILE) as database:
        dump = "\n".join(database.iterdump())
    assert not [name for name, _ in PEOPLE if name in dump]
    assert "rosa" not in dump

"""What waits for persons: who may decide, blind to each other; parts; the clock; a daemon killed between two steps."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.support.orchestrator import Host, record

from fedproc.common.errors import FedprocError
from fedproc.common.tlog.entries import Entry
from fedproc.common.tlog.folder import ENTRIES
from fedproc.common.tlog.verification import read_entries
from fedproc.contract.ids import new_id
from fedproc.contract.states import JobState
from fedproc.contract.times import now
from fedproc.site.jobs.logged import LoggedUploads
from fedproc.site.jobs.record import JobRecord
from fedproc.site.jobs.release.opinions import Reviewer, Word
from fedproc.site.journal import Journal, JournalError
from fedproc.site.policy.policy_file import Policy

pytestmark = pytest.mark.process

SECONDS = 20
ROOT, ANNA, BERT, CARLA = (
    Reviewer("root", is_listed=False),
    *(Reviewer(n, is_listed=True) for n in ("anna", "bert", "carla")),
)
OUTPUTS = (
    {"name": "counts", "path": "counts.txt", "disclosure": "aggregate"},
    {"name": "curve", "path": "curve.txt", "disclosure": "aggregate"},
    {"name": "weights", "path": "weights.txt", "disclosure": "model"},
)


class Transfer:
    def __init__(self, observer: LoggedUploads) -> None:
        self.sent: list[str] = []
        self._observer = observer

    async def upload(self, new: Any, source: Path, on_wait: Any) -> str:
        await self._observer.begins(new, on_wait)
        self.sent.append(f"{new.output}/{new.path}")
        return new_id("f")


class Site:
    """One host with one job whose outputs wait."""

    def __init__(self, folder: Path, journal: Journal, **review: Any) -> None:
        self.host = Host(folder, journal, ())
        self.host.tools.want(of_task={"outputs": OUTPUTS})
        self.policy(**review)
        self.transfer = Transfer(LoggedUploads(self.host.services, lambda _: self.live))
        self.host.services.transfer = cast(Any, self.transfer)
        self.record = record(JobState.collecting)
        self.record.share = None
        self.job = self.record.job
        self.sealed = self.host.services.workspace(self.job).sealed

    def policy(self, **review: Any) -> None:
        line = {"id": "km", "digest": "*", "release": {"model": "manual", "aggregate": "manual"}}
        self.host.services.policy = Policy.model_validate({"tools": [line], "review": review})

    def seal(self, **content: str) -> None:
        self.record.sealed = {}
        for output, text in content.items():
            path = self.sealed / output / f"{output}.txt"
            path.parent.mkdir(parents=True)
            path.write_text(text)
            self.record.sealed[f"{output}/{output}.txt"] = hashlib.sha256(text.encode()).hexdigest()

    async def begin(self) -> None:
        await self.host.has(self.record)
        await self.host.orchestrator.resume()
        await self.until(lambda: self.live.review is not None and self.live.state is JobState.awaiting_release)

    async def again(self) -> None:
        """The daemon is killed, and another one begins with what the journal has."""
        await self.host.orchestrator.close()
        self.host.orchestrator._closing = False
        await self.host.orchestrator.resume()

    @property
    def live(self) -> JobRecord:
        return self.host.orchestrator.runs[self.job].record

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(SECONDS):
            while not holds():
                await asyncio.sleep(0.01)

    async def say(self, by: Reviewer, *files: str, release: bool = True, reason: str = "looked at") -> dict[str, Any]:
        named = {path: (self.record.sealed or {})[path] for path in files} or None
        return await self.host.orchestrator.decide(self.job, Word(by, release, reason, named))

    async def ended(self) -> JobRecord:
        return await self.host.ended(self.job)

    def log(self, kind: str) -> list[dict[str, Any]]:
        path = self.host.services.tlog.folder / ENTRIES
        entries: list[Entry] = list(read_entries(path)) if path.exists() else []
        return [dict(entry.data) for entry in entries if entry.kind == kind]


@pytest.fixture
async def make(tmp_path: Path, journal: Journal) -> AsyncIterator[Callable[..., Site]]:
    made: list[Site] = []

    def site(**review: Any) -> Site:
        made.append(Site(tmp_path, journal, **review))
        return made[0]

    yield site
    for each in made:
        await each.host.orchestrator.close()


async def test_a_part_is_released_and_the_rest_stays(make):
    site = make()
    site.seal(counts="12", curve="3")
    await site.begin()
    shown = site.live.snapshot("UB", "e").release
    assert (shown.stage, shown.until > shown.since) == ("under_review", True)
    first = await site.say(ROOT, "counts/counts.txt")
    assert first["open"] == ["curve/curve.txt"]
    assert site.transfer.sent == []
    await site.say(ROOT, release=False)
    ended = await site.ended()
    assert (ended.state, ended.code) == (JobState.succeeded, "release.partly")
    assert ended.release is not None
    assert ended.release.stage == "partly_released"
    assert site.transfer.sent == ["counts/counts.txt"]
    assert "looked at" not in ended.snapshot("UB", "e").model_dump_json()


async def test_what_left_and_what_stayed_by_whom_stands_in_the_log(make):
    site = make()
    site.seal(counts="12", curve="3")
    await site.begin()
    await site.say(ROOT, "counts/counts.txt")
    await site.say(ROOT, release=False, reason="too few")
    await site.ended()
    said = site.log("release.reviewed")
    assert [(entry["decision"], len(entry["files"])) for entry in said] == [("released", 1), ("refused", 1)]
    assert said[0]["reviewer"].startswith("reviewer:")
    assert "root" not in str(said)
    assert "too few" not in str(site.log("release.decided"))


async def test_two_persons_decide_blind_to_each_other_and_each_by_a_listed_account(make):
    site = make(reviewers={"model": 2})
    site.seal(counts="12", weights="w")
    await site.begin()
    with pytest.raises(FedprocError, match="2 persons decide about it, each by an account of the group"):
        await site.say(ROOT)
    assert (await site.say(ANNA))["open"] == ["weights/weights.txt"]
    with pytest.raises(FedprocError, match=r"nothing of job .* waits for a word of anna"):
        await site.say(ANNA)
    assert site.live.decision is None
    assert (await site.say(BERT, "weights/weights.txt"))["open"] == []
    assert sorted(site.transfer.sent) == sorted(site.record.sealed) if (await site.ended()) else False


@pytest.mark.parametrize(
    ("disagreement", "third", "leaves"), [("refuse", None, False), ("third", True, True), ("third", False, False)]
)
async def test_of_two_who_disagree_the_policy_says_what_follows(make, disagreement, third, leaves):
    site = make(reviewers={"model": 2}, disagreement=disagreement)
    site.seal(weights="w")
    await site.begin()
    await site.say(ANNA)
    await site.say(BERT, release=False)
    if third is not None:
        await site.say(CARLA, release=third)
    ended = await site.ended()
    assert (ended.state is JobState.succeeded, bool(site.transfer.sent)) == (leaves, leaves)


async def test_author_and_asker_decide_nothing(make):
    site = make(persons={"anna": ["https://orcid.org/0000-0001"], "bert": ["Alice"]})
    site.host.tools._installed.manifest.tool.biotools.credit = (SimpleNamespace(name="Dr A", orcidid="0000-0001"),)
    site.seal(counts="12")
    await site.begin()
    for author in (ANNA, BERT):
        with pytest.raises(FedprocError, match="made this tool or asked for this job"):
            await site.say(author)
    await site.say(CARLA)
    assert (await site.ended()).state is JobState.succeeded


async def test_a_file_that_is_swapped_before_or_after_the_decision_does_not_leave(make):
    site = make()
    site.seal(counts="12", curve="3")
    await site.begin()
    await site.say(ROOT, "counts/counts.txt")
    (site.sealed / "counts" / "counts.txt").write_text("99")
    (site.sealed / "curve" / "curve.txt").write_text("99")
    with pytest.raises(FedprocError, match="not as it was sealed"):
        await site.say(ROOT, "curve/curve.txt")
    with pytest.raises(FedprocError, match="what was looked at is not what was sealed"):
        await site.host.orchestrator.decide(site.job, Word(ROOT, True, "x", {"curve/curve.txt": "0" * 64}))
    (site.sealed / "curve" / "curve.txt").write_text("3")
    await site.say(ROOT, "curve/curve.txt")
    ended = await site.ended()
    assert (ended.state, site.transfer.sent) == (JobState.error, [])


async def test_a_daemon_that_is_killed_between_any_two_steps_goes_on(make):
    site = make(reviewers={"aggregate": 2})
    site.seal(counts="12", curve="3")
    await site.begin()
    since = site.live.review.since
    await site.again()
    await site.say(ANNA, "counts/counts.txt")
    await site.again()
    await site.say(BERT, "counts/counts.txt")
    await site.say(BERT, release=False)
    await site.again()
    await site.until(lambda: site.live.review is not None)
    assert site.live.review.since == since
    await site.say(ANNA, release=False)
    await site.again()
    ended = await site.ended()
    assert (ended.code, site.transfer.sent) == ("release.partly", ["counts/counts.txt"])


async def test_a_word_that_was_journalled_and_not_yet_logged_is_logged_by_the_next_daemon(make):
    from fedproc.site.jobs.reviewing import Opinion, Review

    site = make()
    site.seal(counts="12")
    site.record.enter(JobState.awaiting_release)
    files = dict(site.record.sealed)
    said = Opinion(reviewer="root", at=now(), release=True, files=files, reason="fine")
    site.record.review = Review(since=now(), asked=dict.fromkeys(files, 1), opinions=[said])
    await site.host.has(site.record)
    await site.host.orchestrator.resume()
    assert (await site.ended()).state is JobState.succeeded
    assert [entry["decision"] for entry in site.log("release.reviewed")] == ["released"]


async def test_a_decision_that_a_daemon_of_the_release_before_journalled_counts(make):
    site = make()
    site.seal(counts="12")
    site.record.enter(JobState.awaiting_release)
    kept = site.record.as_json() | {"decision": {"release": True, "reason": "fine", "hashes": site.record.sealed}}
    await site.host.journal.accept(site.job, kept, [])
    await site.host.orchestrator.resume()
    ended = await site.ended()
    assert (ended.state, ended.code, site.transfer.sent) == (JobState.succeeded, None, ["counts/counts.txt"])


async def test_a_job_that_waited_under_the_release_before_is_opened_and_takes_its_old_command(make):
    site = make()
    site.seal(counts="12")
    site.record.enter(JobState.awaiting_release)
    await site.host.has(site.record)
    await site.host.orchestrator.resume()
    assert (await site.say(ROOT))["open"] == []
    assert (await site.ended()).state is JobState.succeeded


# -- the clock ---------------------------------------------------------------------------------------


class Clock:
    def __init__(self) -> None:
        self.compared, self.trusted, self.skew = True, True, 0.0
        self.ahead = timedelta()

    def now(self) -> datetime:
        return now() + self.ahead


async def waiting_with(site: Site) -> Clock:
    clock = Clock()
    site.host.services.identity.clock = cast(Any, clock)
    deadlines = site.record.order.deadlines.model_copy(update={"release_by": now() + timedelta(days=400)})
    site.record.order = site.record.order.model_copy(update={"deadlines": deadlines})
    site.seal(counts="12")
    await site.begin()
    return clock


async def test_what_nobody_decides_is_reminded_of_then_withheld_and_never_released(make):
    site = make(remind_days=1, expire_days=2)
    clock = await waiting_with(site)
    clock.ahead = timedelta(days=3.5)
    await site.again()
    await site.until(
        lambda: site.job not in site.host.orchestrator.runs or site.live.review.reminded or site.live.review.expired
    )
    clock.ahead = timedelta(days=7)
    await site.again()
    ended = await site.ended()
    assert (ended.state, ended.code, site.transfer.sent) == (JobState.expired, "release.expired", [])
    assert ended.release.stage == "withheld"
    assert site.log("release.decided")[0]["decision"] == "refused"


@pytest.mark.parametrize("fault", ["trusted", "compared"])
async def test_by_a_clock_that_is_wrong_or_unknown_nothing_expires(make, fault):
    site = make(expire_days=2)
    clock = await waiting_with(site)
    setattr(clock, fault, False)
    clock.ahead = timedelta(days=300)
    await site.again()
    await site.until(lambda: site.live.release is not None and site.live.waiting_for is not None)
    await asyncio.sleep(0.5)  # more than two of its looks at the clock
    assert site.live.state is JobState.awaiting_release
    setattr(clock, fault, True)
    clock.ahead = timedelta()
    await site.say(ROOT)
    assert (await site.ended()).state is JobState.succeeded


async def test_a_wait_that_began_by_an_unknown_clock_counts_from_when_it_is_known(make):
    site = make(expire_days=2)
    clock = Clock()
    clock.compared, clock.ahead = False, timedelta(days=-300)
    site.host.services.identity.clock = cast(Any, clock)
    site.seal(counts="12")
    await site.begin()
    clock.compared, clock.ahead = True, timedelta()
    await site.again()
    await site.until(lambda: site.live.review is not None and site.live.review.since_is_sure)
    assert abs(site.live.review.since - now()) < timedelta(minutes=1)
    assert site.live.state is JobState.awaiting_release


async def test_time_by_a_clock_that_is_wrong_does_not_count_afterwards_either(make):
    site = make(expire_days=2)
    clock = await waiting_with(site)
    begun, clock.trusted = site.live.review.since, False
    await site.again()
    async with asyncio.timeout(SECONDS):
        while (await site.host.journal.known(site.job))["review"].get("doubted") is None:
            await asyncio.sleep(0.01)
    await site.again()
    clock.ahead, clock.trusted = timedelta(days=10), True
    await site.until(lambda: site.live.review is not None and site.live.review.doubted is None)
    assert site.live.review.since - begun > timedelta(days=9)
    assert site.live.state is JobState.awaiting_release
    await site.say(ROOT)
    assert (await site.ended()).state is JobState.succeeded


# -- a policy that is changed meanwhile --------------------------------------------------------------


async def test_a_policy_that_asks_for_more_persons_counts_for_what_waits(make):
    site = make()
    site.seal(counts="12", curve="3")
    await site.begin()
    await site.say(ROOT, "counts/counts.txt")
    site.policy(reviewers={"aggregate": 2})
    with pytest.raises(FedprocError, match="2 persons decide about it"):
        await site.say(ROOT, "curve/curve.txt")
    assert (await site.say(ANNA))["open"] == ["counts/counts.txt", "curve/curve.txt"], "root is no second person"
    await site.say(BERT)
    assert (await site.ended()).state is JobState.succeeded


async def test_two_accounts_of_one_person_are_one(make):
    site = make(reviewers={"aggregate": 2}, persons={"anna": ["Anna Puig"], "bert": ["ANNA PUIG"]})
    site.seal(counts="12")
    await site.begin()
    await site.say(ANNA)
    with pytest.raises(FedprocError, match=r"nothing of job .* waits for a word of bert"):
        await site.say(BERT)
    with pytest.raises(FedprocError, match="said otherwise before"):
        await site.say(BERT, "counts/counts.txt", release=False)
    assert (await site.say(BERT, "counts/counts.txt"))["open"] == ["counts/counts.txt"]
    await site.say(CARLA)
    assert (await site.ended()).state is JobState.succeeded


async def test_an_output_that_a_rule_refuses_after_the_decision_keeps_all_if_others_need_it(make):
    from fedproc.site.jobs.reviewing import Decision

    site = make()
    site.host.tools.want(of_task={"outputs": ({**OUTPUTS[0], "min_count_fields": ["n"]}, OUTPUTS[1])})
    need = SimpleNamespace(kind="output", task="local", output="counts", optional=False)
    site.host.tools._installed.manifest.tool.tasks = (SimpleNamespace(inputs=(need,)),)
    site.seal(counts='{"n": 12}', curve="3")
    site.record.enter(JobState.awaiting_release)
    site.record.decision = Decision(release=True, reason="fine", hashes=dict(site.record.sealed))
    line = {"id": "km", "digest": "*", "release": {"aggregate": "manual"}}
    site.host.services.policy = Policy.model_validate({"tools": [line], "floor": 20})
    await site.host.has(site.record)
    await site.host.orchestrator.resume()
    ended = await site.ended()
    assert (ended.state, ended.code, site.transfer.sent) == (JobState.refused, "release.withheld", [])


# -- what a rule refuses, and what would leave by itself -----------------------------------------------


async def test_what_a_rule_refuses_stays_and_a_person_decides_about_the_rest(make):
    site = make()
    site.host.tools.want(of_task={"outputs": ({**OUTPUTS[0], "min_count_fields": ["n"]}, OUTPUTS[1])})
    site.seal(counts='{"n": 3}', curve="3")
    await site.begin()
    with pytest.raises(FedprocError, match="a rule refuses this output"):
        await site.say(ROOT, "counts/counts.txt")
    await site.say(ROOT)
    ended = await site.ended()
    assert (ended.code, site.transfer.sent) == ("release.partly", ["curve/curve.txt"])
    rules = {rule["id"] for entry in site.log("release.decided") for rule in entry.get("rules", ())}
    assert "persons.floor" in rules


async def test_a_part_that_another_task_needs_is_no_part(make):
    site = make()
    need = SimpleNamespace(kind="output", task="local", output="curve", optional=False)
    site.host.tools._installed.manifest.tool.tasks = (SimpleNamespace(inputs=(need,)),)
    site.seal(counts="12", curve="3")
    await site.begin()
    await site.say(ROOT, "curve/curve.txt", release=False)
    await site.say(ROOT)
    ended = await site.ended()
    assert (ended.state, ended.code, site.transfer.sent) == (JobState.refused, "release.refused", [])


async def test_one_in_so_many_of_what_leaves_by_itself_is_shown(make):
    site = make()
    waived = {"id": "km", "digest": "*", "any_version": True, "without_review": ["aggregate"]}
    line = waived | {"release": {"aggregate": "automatic"}}
    site.host.services.policy = Policy.model_validate({"tools": [line], "review": {"sample": 1}})
    site.seal(counts="12")
    await site.begin()
    assert {each["rule"] for each in site.live.review.found} == {"policy.sample"}
    await site.say(ROOT, reason="")
    assert (await site.ended()).state is JobState.succeeded


async def test_a_word_that_is_said_again_counts_when_it_is_on_the_disk(make, monkeypatch):
    site = make(reviewers={"aggregate": 2})
    site.seal(counts="12")
    await site.begin()
    save = site.host.journal.save

    async def refuse(*_: Any) -> None:
        raise JournalError("the disk is full")

    monkeypatch.setattr(site.host.journal, "save", refuse)
    said = [asyncio.create_task(site.say(ANNA, "counts/counts.txt")) for _ in range(2)]
    await site.until(lambda: bool(site.live.review.opinions))
    done, _ = await asyncio.wait(said, timeout=0.2)
    assert not done
    monkeypatch.setattr(site.host.journal, "save", save)
    await asyncio.gather(*said)
    assert len((await site.host.journal.known(site.job))["review"]["opinions"]) == 1

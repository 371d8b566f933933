"""What the coordinator decides, for random tools and random fates of their jobs.

The federation is played: whatever is decided is carried out, hosts report what a host may report, in any order.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.examples import examples
from tests.support.sample_tools import CHAIN, DIAL, GANG, LONE, PORT, SENT, WATCHED, need, task, tool

from fedproc.central.experiments.coordinator import (
    AHEAD,
    Decision,
    Facts,
    JobFacts,
    decide,
    state_of,
    waiting_gang_hosts,
)
from fedproc.central.experiments.gangs import gang_tasks
from fedproc.contract.states import LEGAL, TERMINAL, ExperimentState, JobState
from fedproc.contract.tool.task import Placement, TaskKind
from fedproc.contract.tool.tool import Tool

S = JobState
_BEFORE_PREPARED = {S.queued, S.dispatched, S.accepted, S.materialising}


class Play:
    """One experiment of a tool on some hosts, and everything that was told to anybody."""

    def __init__(self, tool: Tool, hosts: int, uploads: bool = False) -> None:
        self.tool = tool
        self.jobs = {job.id: job for job in _placed(tool, hosts, uploads)}
        self.cancel_requested = False
        self.busy: frozenset[str] = frozenset()
        self.held = False
        self.decisions: list[Decision] = []
        self.ends: dict[str, int] = {}

    def facts(self) -> Facts:
        return Facts(self.tool, tuple(self.jobs.values()), self.cancel_requested, self.busy, self.held)

    def hold(self, able: set[str]) -> None:
        """Have it prepared at the hosts that can; of a gang all or none."""
        self.held = True
        for job in list(self.jobs.values()):
            gang = self._gang(job) or [job]
            waits = any(self._needed(other, "exited") for other in gang)
            if not waits and all(other.host in able for other in gang):
                self.jobs[job.id] = replace(job, messages_sent=frozenset({AHEAD}))

    def decide(self) -> list[Decision]:
        """Decide and carry out until nothing follows, as the centre does; all that was decided."""
        made: list[Decision] = []
        while decisions := decide(self.facts()):
            self._check(decisions)
            for decision in decisions:
                self._carry_out(decision)
            made += decisions
            assert len(made) < 1000, "it never ends"
        self.decisions += made
        return made

    def _carry_out(self, decision: Decision) -> None:
        job = self.jobs[decision.job]
        if decision.kind == "cancel" and job.state is S.queued:
            self._move(job, S.cancelled)
            return
        late = {AHEAD} if decision.kind == "job" and not self.held else set()
        known = replace(job, messages_sent=(job.messages_sent | {decision.kind}) - late)
        if decision.kind == "proceed":
            known = replace(known, ready=False)
        self.jobs[job.id] = replace(known, state=S.dispatched) if decision.kind == "job" else known

    def _check(self, decisions: list[Decision]) -> None:
        keys = [(decision.kind, decision.job) for decision in decisions]
        assert len(set(keys)) == len(keys)
        for decision in decisions:
            job = self.jobs[decision.job]
            assert decision.kind not in job.messages_sent, "nobody is told the same twice"
            assert not job.ended, "who has ended is told nothing"
            getattr(self, f"_check_{decision.kind}")(job, decisions)

    def _check_job(self, job: JobFacts, decisions: list[Decision]) -> None:
        assert job.state is S.queued
        assert job.uploads_missing == 0
        for other in self._needed(job, "exited"):
            assert other.ended, "it was to wait for its end"
        gang = self._gang(job)
        if gang:
            sent = {d.job for d in decisions if d.kind == "job"}
            assert {other.id for other in gang} <= sent, "a gang goes as a whole"
            if not self.held:
                assert not self.busy & {other.host for other in gang}, "and to hosts that acquire for no other"
        if self.held:
            assert AHEAD in job.messages_sent, "a host that lays out nothing ahead would run it at once"

    def _check_proceed(self, job: JobFacts, decisions: list[Decision]) -> None:
        assert not self.held, "its user has not started it"
        assert job.laid_out
        if gang := self._gang(job):
            assert {other.id for other in gang} <= {d.job for d in decisions if d.kind == "proceed"}
            assert not self.busy & {other.host for other in gang}

    def _check_start(self, job: JobFacts, _: list[Decision]) -> None:
        assert job.state is S.prepared
        assert not any(other.state in _BEFORE_PREPARED for other in self._gang(job)), "all are to be prepared first"
        tolerated = self.facts().tolerated
        assert all(other.ready for other in self._needed(job, "ready") if other.id not in tolerated)

    def _check_finish(self, job: JobFacts, _: list[Decision]) -> None:
        assert self.tool.task(job.task).kind is TaskKind.service
        work = [other for other in self.jobs.values() if self.tool.task(other.task).kind is TaskKind.batch]
        mine = [other for other in work if other in self._gang(job)] or work
        assert all(other.ended for other in mine), "a service lives as long as the work"

    def _check_cancel(self, job: JobFacts, _: list[Decision]) -> None:
        assert self.cancel_requested or self.facts().broken or job.id in self.facts().tolerated

    def _needed(self, job: JobFacts, condition: str) -> list[JobFacts]:
        names = {n.task for n in self.tool.task(job.task).needs if n.condition == condition}
        return [other for other in self.jobs.values() if other.task in names]

    def _gang(self, job: JobFacts) -> list[JobFacts]:
        """The jobs that start together with this one; those that were let go do not count."""
        group = next((g for g in _joined(self.tool) if job.task in g), set())
        tolerated = self.facts().tolerated
        return [other for other in self.jobs.values() if other.task in group and other.id not in tolerated]

    # -- what hosts do

    def _move(self, job: JobFacts, state: JobState) -> None:
        assert not job.ended, "one terminal state for each job"
        if state in TERMINAL:
            self.ends[job.id] = self.ends.get(job.id, 0) + 1
        self.jobs[job.id] = replace(job, state=state)

    def possible(self) -> list[tuple[str, str]]:
        """What may happen next: (job, new state), (job, "ready"), (job, "uploaded")."""
        found: list[tuple[str, str]] = []
        for job in self.jobs.values():
            if job.uploads_missing and job.state is S.queued:
                found.append((job.id, "uploaded"))
            found += [(job.id, state.value) for state in self._next_states(job)]
            if self._gets_ready(job):
                found.append((job.id, "ready"))
        return [*found, ("", "start")] if self.held and not self.cancel_requested else found

    def _next_states(self, job: JobFacts) -> list[JobState]:
        gang = job.task in gang_tasks(self.tool)
        service = self.tool.task(job.task).kind is TaskKind.service
        found = []
        for state in LEGAL[job.state] if job.state is not S.queued else frozenset({S.expired}):
            if state is S.prepared and AHEAD in job.messages_sent and "proceed" not in job.messages_sent:
                continue
            if state is S.running and gang and "start" not in job.messages_sent:
                continue
            if state is S.collecting and service and "finish" not in job.messages_sent:
                continue
            found.append(state)
        return sorted(found)

    def _gets_ready(self, job: JobFacts) -> bool:
        if job.state is S.materialising and AHEAD in job.messages_sent and "proceed" not in job.messages_sent:
            return not job.ready
        return job.state is S.running and not job.ready and self.tool.task(job.task).ready is not None

    def happen(self, job: str, what: str) -> None:
        if what == "start":
            self.held = False
            return
        before = self.jobs[job]
        if what == "uploaded":
            self.jobs[job] = replace(before, uploads_missing=0)
        elif what == "ready":
            self.jobs[job] = replace(before, ready=True)
        else:
            self._move(before, S(what))

    def good(self) -> list[tuple[str, str]]:
        """Of what may happen, what happens if nothing goes wrong."""
        bad = {state.value for state in TERMINAL} - {S.succeeded.value}
        asked = {job.id for job in self.jobs.values() if "cancel" in job.messages_sent}
        awaited = {job.id for job in self.jobs.values() if self._gets_ready(job)}
        early = {(job, "collecting") for job in awaited}
        wanted = [(j, what) for j, what in self.possible() if j in asked or not (what in bad or (j, what) in early)]
        return [(job, "cancelled") if job in asked else (job, what) for job, what in wanted if what != "expired"]


def _joined(tool: Tool) -> list[set[str]]:
    """Names of tasks that are joined by needing each other ready, or by a connection."""
    groups: list[set[str]] = []
    for entry in tool.tasks:
        others = {n.task for n in entry.needs if n.condition == "ready"} | {c.task for c in entry.connections}
        if others:
            mine = {entry.name} | others
            touching = [group for group in groups if group & mine]
            groups = [group for group in groups if not group & mine] + [mine.union(*touching)]
    return groups


def _placed(tool: Tool, hosts: int, uploads: bool) -> list[JobFacts]:
    names = [f"H{number}" for number in range(hosts)]
    found = []
    for entry in tool.tasks:
        places = ["AGG"] if entry.placement is Placement.server else names
        missing = sum(i.kind == "upload" and not i.optional for i in entry.inputs) if uploads else 0
        found += [JobFacts(f"{entry.name}@{h}", h, entry.name, S.queued, uploads_missing=missing) for h in places]
    return found


@st.composite
def tools(draw: st.DrawFn) -> Tool:
    """Tools of up to five tasks that need each other in any way that is no circle."""
    names = [f"t{number}" for number in range(draw(st.integers(1, 5)))]
    tasks: list[dict[str, Any]] = []
    for index, name in enumerate(names):
        placement = draw(st.sampled_from(["server", "client", "worker"]))
        earlier = [other["name"] for other in tasks]
        servers = [other["name"] for other in tasks if other["placement"] == "server"]
        more: dict[str, Any] = {
            "kind": draw(st.sampled_from(["batch", "batch", "service"])) if index < len(names) - 1 else "batch",
            "ports": [PORT],
            "ready": {"tcp": "grpc"},
            "needs": [need(o, draw(st.sampled_from(["ready", "exited"])))
                      for o in (draw(st.lists(st.sampled_from(earlier), unique=True, max_size=2)) if earlier else [])],
            "connections": [{**DIAL, "task": draw(st.sampled_from(servers))}]
            if servers and draw(st.booleans()) else [],
            "inputs": [{"name": "table", "kind": "upload"}] if draw(st.integers(0, 4)) == 0 else [],
        }  # fmt: skip
        tasks.append(task(name, placement, **more))
    rule = draw(st.sampled_from([{}, {"action": "continue", "min_hosts": 1}, {"action": "continue", "min_hosts": 2}]))
    return tool("random", *tasks, on_host_lost=rule)


def _waits_for_itself(tool: Tool) -> bool:
    """Whether a task is to exit before another of its own gang may begin, or a service before anything may."""
    joined = _joined(tool)
    kinds = {entry.name: entry.kind for entry in tool.tasks}
    waits: dict[int, set[int]] = {}
    for entry in tool.tasks:
        mine = _index(joined, entry.name)
        for other in (n.task for n in entry.needs if n.condition == "exited"):
            if kinds[other] is TaskKind.service:
                return True
            waits.setdefault(mine, set()).add(_index(joined, other))
    return _circular(waits)


def _index(joined: list[set[str]], name: str) -> Any:
    return next((index for index, group in enumerate(joined) if name in group), name)


def _circular(waits: dict[Any, set[Any]]) -> bool:
    while free := [key for key, others in waits.items() if not others & waits.keys()]:
        for key in free:
            del waits[key]
    return bool(waits)


@pytest.mark.slow
@examples(400)
@given(tools(), st.integers(1, 4), st.data())
def test_whatever_happens_every_job_ends_once_and_the_experiment_with_the_last(
    tool: Tool, hosts: int, data: st.DataObject
) -> None:
    play = Play(tool, hosts, uploads=True)
    if data.draw(st.booleans()):
        play.hold(set(data.draw(st.lists(st.sampled_from(["AGG", *(f"H{n}" for n in range(hosts))])))))
    play.decide()
    for _ in range(400):
        before = state_of(play.facts())
        ended = all(job.ended for job in play.jobs.values())
        assert (before not in {"queued", "running"}) == ended, "it ends exactly when all its jobs have"
        if ended:
            break
        if data.draw(st.integers(0, 30)) == 0:
            play.cancel_requested = True
        options = play.possible()
        assert options, f"it is stuck: {play.jobs}"
        play.happen(*data.draw(st.sampled_from(options)))
        play.decide()
        assert decide(play.facts()) == [], "asked again, it says nothing new"
    assert all(count == 1 for count in play.ends.values())


@pytest.mark.slow
@examples(300)
@given(tools().filter(lambda t: not _waits_for_itself(t)), st.integers(1, 4), st.randoms(use_true_random=False))
def test_if_nothing_goes_wrong_it_succeeds(tool: Tool, hosts: int, random: Any) -> None:
    play = Play(tool, hosts, uploads=True)
    if random.random() < 0.5:
        play.hold({host for host in ("AGG", "H0", "H1", "H2", "H3") if random.random() < 0.8})
    play.decide()
    while options := play.good():
        play.happen(*random.choice(options))
        play.decide()
    assert {job.state for job in play.jobs.values()} == {S.succeeded}, play.jobs
    assert state_of(play.facts()) is ExperimentState.succeeded
    assert not [made for made in play.decisions if made.kind == "cancel"]


@pytest.mark.slow
@examples(200)
@given(tools(), st.integers(1, 3), st.data())
def test_a_cancelled_experiment_ends_whatever_its_jobs_are_doing(tool: Tool, hosts: int, data: st.DataObject) -> None:
    play = Play(tool, hosts)
    play.decide()
    for _ in range(data.draw(st.integers(0, 12))):
        if options := play.good():
            play.happen(*data.draw(st.sampled_from(options)))
            play.decide()
    play.cancel_requested = True
    play.decide()
    running = [job for job in play.jobs.values() if not job.ended]
    assert all("cancel" in job.messages_sent for job in running)
    assert not any(job.state is S.queued for job in running)
    finished = all(job.state is S.succeeded for job in play.jobs.values())
    for job in running:
        play.happen(job.id, "cancelled")
    assert play.decide() == []
    assert state_of(play.facts()) is (ExperimentState.succeeded if finished else ExperimentState.cancelled)


# -- single rules, by hand


def _told(play: Play) -> list[tuple[str, str]]:
    return [(decision.kind, decision.job) for decision in play.decide()]


def test_jobs_of_a_single_task_go_at_once() -> None:
    assert _told(Play(LONE, 3)) == [("job", "work@H0"), ("job", "work@H1"), ("job", "work@H2")]


def test_who_needs_others_to_have_exited_waits_for_the_last() -> None:
    play = Play(CHAIN, 2)
    assert _told(play) == [("job", "local@H0"), ("job", "local@H1")]
    play._move(play.jobs["local@H0"], S.succeeded)
    assert _told(play) == []
    play._move(play.jobs["local@H1"], S.succeeded)
    assert _told(play) == [("job", "total@AGG")]


def test_what_is_held_is_laid_out_where_that_can_be_and_goes_nowhere_else() -> None:
    play = Play(LONE, 3)
    play.hold({"H0", "H1"})
    assert _told(play) == [("job", "work@H0"), ("job", "work@H1")]
    play._move(play.jobs["work@H0"], S.materialising)
    play.happen("work@H0", "ready")
    assert _told(play) == []
    play.held = False
    assert _told(play) == [("job", "work@H2"), ("proceed", "work@H0")]
    play._move(play.jobs["work@H1"], S.materialising)
    assert _told(play) == []
    play.happen("work@H1", "ready")
    assert _told(play) == [("proceed", "work@H1")]


def test_held_gang_is_laid_out_on_busy_hosts_and_acquires_them_as_a_whole() -> None:
    play = Play(GANG, 2)
    play.hold({"AGG", "H0", "H1"})
    play.busy = frozenset({"H1"})
    assert len(_told(play)) == 3
    assert waiting_gang_hosts(play.facts()) == frozenset()
    for job in play.jobs.values():
        play._move(job, S.materialising)
    play.held = False
    for job in list(play.jobs):
        assert _told(play) == []
        play.happen(job, "ready")
    assert _told(play) == [], "another gang acquires at H1"
    assert waiting_gang_hosts(play.facts()) == {"AGG", "H0", "H1"}
    play.busy = frozenset()
    assert sorted(_told(play)) == [("proceed", "client@H0"), ("proceed", "client@H1"), ("proceed", "server@AGG")]


def test_gang_with_a_host_that_lays_out_nothing_goes_at_the_start() -> None:
    play = Play(GANG, 2)
    play.hold({"AGG", "H0"})
    assert _told(play) == []
    play.held = False
    assert len(_told(play)) == 3


def test_a_gang_from_admission_to_its_end() -> None:
    play = Play(GANG, 2)
    play.busy = frozenset({"H1"})
    assert _told(play) == []
    assert waiting_gang_hosts(play.facts()) == {"AGG", "H0", "H1"}
    play.busy = frozenset()
    assert _told(play) == [("job", "server@AGG"), ("job", "client@H0"), ("job", "client@H1")]
    for job in ("server@AGG", "client@H0"):
        play._move(play.jobs[job], S.prepared)
    assert _told(play) == []
    play._move(play.jobs["client@H1"], S.prepared)
    assert _told(play) == [("start", "server@AGG")]
    play._move(play.jobs["server@AGG"], S.running)
    assert _told(play) == []
    play.happen("server@AGG", "ready")
    assert _told(play) == [("start", "client@H0"), ("start", "client@H1")]
    play._move(play.jobs["client@H0"], S.succeeded)
    assert _told(play) == []
    play._move(play.jobs["client@H1"], S.succeeded)
    assert _told(play) == [("finish", "server@AGG")]
    play._move(play.jobs["server@AGG"], S.succeeded)
    assert _told(play) == []
    assert state_of(play.facts()) is ExperimentState.succeeded


def test_a_service_beside_the_work_is_ended_with_it() -> None:
    play = Play(WATCHED, 1)
    assert _told(play) == [("job", "watch@AGG"), ("job", "work@H0")]
    play._move(play.jobs["work@H0"], S.succeeded)
    assert _told(play) == [], "it does not run yet: there is nothing to end"
    play._move(play.jobs["watch@AGG"], S.running)
    assert _told(play) == [("finish", "watch@AGG")]


def test_a_job_waits_for_its_users_file() -> None:
    play = Play(SENT, 2, uploads=True)
    assert _told(play) == []
    play.happen("work@H1", "uploaded")
    assert _told(play) == [("job", "work@H1")]


@pytest.mark.parametrize("fate", sorted(TERMINAL - {S.succeeded}))
def test_one_failure_ends_the_others_with_its_reason(fate: JobState) -> None:
    play = Play(LONE, 3)
    play.decide()
    play.jobs["work@H1"] = replace(play.jobs["work@H1"], reason="the disk is full")
    play._move(play.jobs["work@H1"], fate)
    made = play.decide()
    assert [(d.kind, d.job, d.code) for d in made] == [
        ("cancel", "work@H0", "peer_failed"), ("cancel", "work@H2", "peer_failed"),
    ]  # fmt: skip
    assert all("work on H1" in d.reason and fate.value in d.reason and "the disk is full" in d.reason for d in made)
    play._move(play.jobs["work@H0"], S.cancelled)
    play._move(play.jobs["work@H2"], S.cancelled)
    assert state_of(play.facts()).value == fate.value


@pytest.mark.parametrize(("least", "end"), [(2, ExperimentState.succeeded), (3, ExperimentState.failed)])
def test_a_tool_may_go_on_without_a_host(least: int, end: ExperimentState) -> None:
    rule = {"action": "continue", "min_hosts": least}
    play = Play(tool("lone", task("work", "worker"), on_host_lost=rule), 3)
    play.decide()
    play._move(play.jobs["work@H0"], S.failed)
    assert len(play.decide()) == (0 if least == 2 else 2)
    for job in ("work@H1", "work@H2"):
        play._move(play.jobs[job], S.succeeded if least == 2 else S.cancelled)
    assert state_of(play.facts()) is end

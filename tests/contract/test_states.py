"""The one table of job states, and what an experiment's state follows from."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedproc.contract.states import (
    LEGAL,
    TERMINAL,
    ExperimentState,
    JobState,
    experiment_state,
    goes_on,
    may_be_reported,
    may_follow,
)

S = JobState
HAPPY = [S.queued, S.dispatched, S.accepted, S.materialising, S.prepared, S.running, S.collecting, S.succeeded]


def test_the_happy_way_is_legal_step_by_step():
    assert all(may_follow(a, b) for a, b in itertools.pairwise(HAPPY))


def test_every_state_has_a_row_and_reaches_an_end():
    assert set(LEGAL) == set(JobState)
    for state in set(JobState) - TERMINAL:
        assert LEGAL[state] & TERMINAL, state


@given(st.sampled_from(sorted(TERMINAL)), st.sampled_from(list(JobState)))
def test_a_terminal_state_absorbs(end, later):
    assert not may_follow(end, later)
    assert not may_be_reported(end, later)


@given(st.sampled_from(HAPPY), st.sampled_from(HAPPY))
def test_snapshots_may_skip_states_but_never_go_back(known, reported):
    expected = known is not S.succeeded and HAPPY.index(reported) >= HAPPY.index(known)
    assert may_be_reported(known, reported) == expected


def test_before_dispatch_only_cancelled_or_expired_end_a_job():
    assert LEGAL[S.queued] & TERMINAL == {S.cancelled, S.expired}


@pytest.mark.parametrize(
    ("jobs", "expected"),
    [
        ([S.queued, S.queued], "queued"),
        ([S.queued, S.dispatched], "running"),
        ([S.succeeded, S.queued], "running"),
        ([S.succeeded, S.succeeded], "succeeded"),
        ([S.failed, S.cancelled, S.succeeded], "failed"),
        ([S.error, S.failed], "failed"),
        ([S.lost, S.cancelled], "lost"),
        ([S.cancelled, S.succeeded], "cancelled"),
    ],
)
def test_experiment_state(jobs, expected):
    assert experiment_state(jobs) == expected


def test_a_spared_job_does_not_decide_but_is_waited_for():
    assert experiment_state([S.succeeded], tolerated=[S.lost]) is ExperimentState.succeeded
    assert experiment_state([S.succeeded], tolerated=[S.running]) is ExperimentState.running


def test_a_users_cancel_is_the_verdict_unless_all_had_succeeded():
    assert experiment_state([S.failed, S.cancelled], cancelled=True) is ExperimentState.cancelled
    assert experiment_state([S.succeeded], cancelled=True) is ExperimentState.succeeded


def test_no_jobs_is_no_experiment():
    with pytest.raises(ValueError, match="at least one"):
        experiment_state([])


@pytest.mark.slow
@given(st.lists(st.sampled_from(list(JobState)), min_size=1, max_size=6))
def test_an_experiment_has_ended_exactly_when_all_jobs_have(jobs):
    ended = experiment_state(jobs) not in (ExperimentState.queued, ExperimentState.running)
    assert ended == all(job in TERMINAL for job in jobs)


def test_each_state_that_has_not_ended_says_what_goes_on() -> None:
    assert [state for state in JobState if bool(goes_on(state.value)) == (state in TERMINAL)] == []
    assert goes_on("of a later release") == ""

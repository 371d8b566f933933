"""Slurm's words, as its programs write them."""

from __future__ import annotations

import pytest

from fedproc.site.executors.slurm.job_states import WORDS, word_of


@pytest.mark.parametrize(
    ("state", "over", "limit"),
    [
        ("RUNNING", False, None),
        ("PENDING", False, None),
        ("COMPLETING", False, None),
        ("COMPLETED", True, None),
        ("CANCELLED by 1000", True, None),
        ("CANCELLED+", True, None),
        ("OUT_OF_MEMORY", True, "memory"),
        ("OUT_OF_ME+", True, "memory"),
        ("TIMEOUT", True, "time"),
        ("NODE_FAIL", True, None),
        ("PREEMPTED", True, None),
        ("A_WORD_OF_LATER", False, None),
        ("", False, None),
    ],
)
def test_a_word_says_whether_a_job_is_over_and_which_limit_ended_it(state: str, over: bool, limit: str | None) -> None:
    assert (word_of(state).over, word_of(state).limit) == (over, limit)


def test_what_slurm_ends_by_itself_is_explained() -> None:
    ended = {name for name, word in WORDS.items() if word.over} - {"COMPLETED", "FAILED"}
    assert all(WORDS[name].detail for name in ended)

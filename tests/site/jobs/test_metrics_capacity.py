"""How much a tool can carry out in the digits of its metrics, held to what docs/security.md says."""

from __future__ import annotations

import json
import math
import random
import re
import struct
from pathlib import Path

import pytest

from fedproc.contract.tool.metrics import MOST, MetricDecl
from fedproc.site.jobs.metrics import LINE, MetricFilter
from fedproc.site.policy.policy_file import Policy

PAGE = (Path(__file__).parents[3] / "docs/security.md").read_text()
DECLARED = tuple(MetricDecl(name=f"m{number}") for number in range(MOST))
DOUBLES = 20_000


def passed(values: list[object], policy: Policy, sent: int = 0) -> list[dict[str, int | float]]:
    now = iter(range(0, 10**9, 3600))
    lines = [json.dumps({DECLARED[0].name: value}).encode() for value in values]
    only = MetricFilter(DECLARED, now=lambda: float(next(now)))
    found = only.passed(lines, policy, sent)
    return found + only.ending(policy, sent + len(found))


def bits_of_one_number() -> float:
    """By the distinct numbers that pass of all finite ones of one power of ten, and the powers that there are."""
    digits = {
        next(iter(line.values()))
        for line in passed([n / 1000 for n in range(1000, 10_000)], Policy(metrics_per_job=20_000))
    }
    powers = [power for power in range(-330, 330) if _is_number(power)]
    return math.log2(2 * len(digits) * len(powers))


def _is_number(power: int) -> bool:
    try:
        return 0 < float(f"1.234e{power}") < math.inf
    except OverflowError:
        return False


def told(what: str) -> float:
    """A number with this unit from the documentation."""
    (found,) = re.findall(rf"([0-9.,]+) {what}", PAGE)
    return float(found.replace(",", ""))


@pytest.mark.slow
def test_any_double_comes_out_with_four_digits_at_most() -> None:
    chosen = random.Random(7)
    doubles = [struct.unpack("<d", chosen.randbytes(8))[0] for _ in range(DOUBLES)]
    finite = [value for value in doubles if math.isfinite(value)]
    found = [next(iter(line.values())) for line in passed(finite, Policy(metrics_per_job=20_000))]
    assert len(found) > 9 * len(finite) // 10
    assert all(float(f"{value:.4g}") == value for value in found)


@pytest.mark.slow
def test_number_carries_no_more_bits_than_is_said() -> None:
    assert bits_of_one_number() <= told("bits in each number of a metric")
    assert bits_of_one_number() > told("bits in each number of a metric") - 1


@pytest.mark.slow
def test_job_carries_no_more_than_is_said_under_the_default_policy() -> None:
    policy = Policy()
    values = [1.0] * (policy.metrics_per_job + 50)
    assert len(passed(list(values), policy)) == policy.metrics_per_job, "however slowly they come"
    assert passed([1.0], policy, sent=policy.metrics_per_job) == []
    most = policy.metrics_per_job * MOST * bits_of_one_number() / 8 / 1000
    assert most <= told("kB a job in 32 metrics")
    assert most > told("kB a job in 32 metrics") * 0.9


def test_line_has_no_more_names_than_may_be_declared_and_no_more_bytes() -> None:
    line = json.dumps({metric.name: 1.234e-300 for metric in DECLARED} | {f"x{n}": 5 for n in range(400)}).encode()
    (found,) = MetricFilter(DECLARED).passed([line[:LINE]], Policy(), 0) or [{}]
    assert len(found) <= MOST


def test_site_that_minds_lets_none_out() -> None:
    assert passed([1.0], Policy(metrics_per_job=0)) == []

"""How large one submission may be."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.books import settings_in
from tests.support.sample_tools import LONE

from fedproc.central.experiments.placement import Placed, Plan
from fedproc.central.experiments.quotas import Quotas
from fedproc.common.errors import TooLargeError
from fedproc.contract.api.experiments import ExperimentRequest


def plan(jobs: int) -> Plan:
    """Each with a thousand bytes of parameters."""
    placed = Placed("UB", LONE.tasks[0], {"m": "x" * 992}, ())
    return Plan(ExperimentRequest(tool="lone", hosts=["UB"]), (placed,) * jobs)


def test_parameters_of_all_jobs_together_are_bounded(tmp_path: Path) -> None:
    settings, _ = settings_in(tmp_path, "sqlite://", quota={"submission_mb": 1}, quotas={"vera": {"submission_mb": 2}})
    Quotas(settings).check_size("rosa", plan(1000))
    with pytest.raises(TooLargeError, match="1001 jobs have 1001000 bytes together; 1000000 may be") as caught:
        Quotas(settings).check_size("rosa", plan(1001))
    assert caught.value.code == "quota.submission"
    assert "name fewer hosts" in caught.value.message
    Quotas(settings).check_size("vera", plan(1001))


def test_a_thousand_hosts_with_the_largest_parameters_are_admitted_by_default(tmp_path: Path) -> None:
    settings, _ = settings_in(tmp_path, "sqlite://")
    largest = Placed("UB", LONE.tasks[0], {"m": "x" * (65_536 - 8)}, ())
    Quotas(settings).check_size("rosa", Plan(ExperimentRequest(tool="lone", hosts=["UB"]), (largest,) * 1000))

"""What is wrong with a running host, by a sample; what probes really measure is tried in ``test_watch.py``."""

from __future__ import annotations

from typing import Any

import pytest

from fedproc.onboarding.rules import alarms


@pytest.mark.parametrize(
    "measured", [{"unknown": "it did not end"}, [], {"gpu": {}, "disks": {}}, {"gpu": {"unknown": 3}, "disks": {}}]
)
def test_a_sample_that_failed_is_an_alarm_and_not_a_good_host(measured: Any) -> None:
    found = alarms.evaluate(measured, 0, {"GPU-a": "NVIDIA A10"})
    assert ([alarm["code"] for alarm in found["alarms"]], found["unfit"]) == (["check-failed"], ["gpu", "disk"])


def test_a_disk_below_its_reserve_is_an_alarm() -> None:
    disk = {
        "path": "/srv", "mount": "/srv", "device": "/dev/vdb (ext4)", "total_bytes": 10**12, "free_bytes": 4 * 10**9,
        "total_inodes": 1000, "free_inodes": 900, "read_only": False,
    }  # fmt: skip
    measured = {"gpu": {"state": "none"}, "disks": {"/srv": disk, "/srv/journal": disk}}
    full, enough = alarms.evaluate(measured, 5 * 10**9, {}), alarms.evaluate(measured, 3 * 10**9, {})
    assert [alarm["code"] for alarm in full["alarms"]] == ["disk-full"], "two folders on one disk are one alarm"
    assert (full["unfit"], enough["unfit"], enough["alarms"]) == (["disk"], [], [])

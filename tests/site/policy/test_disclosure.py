"""The disclosure check on sealed outputs."""

from __future__ import annotations

import json

from fedproc.contract.tool.task import Task
from fedproc.site.policy.disclosure import findings
from fedproc.site.policy.rules import Policy


def check(tmp_path, content, *, minimum=5, disclosure="aggregate", how="automatic", fields=("at_risk",)):
    (tmp_path / "table").mkdir()
    (tmp_path / "table" / "t.json").write_bytes(content)
    task = Task.model_validate(
        {
            "name": "local",
            "placement": "client",
            "runtime": {"requirements": "r.lock"},
            "command": ["true"],
            "outputs": [
                {"name": "table", "path": "t.json", "disclosure": disclosure, "min_count_fields": list(fields)}
            ],
        }
    )
    policy = Policy.model_validate(
        {"minimum_count": minimum, "release": {disclosure: how}, "tools": [{"id": "km", "digest": "*"}]}
    )
    return findings(policy, policy.tools[0], task, tmp_path)


def test_nothing_against_counts_that_are_large_or_zero(tmp_path):
    assert check(tmp_path, json.dumps({"at_risk": [0, 5, 60], "other": 1}).encode()) == []


def test_small_counts_are_found_wherever_they_are_nested(tmp_path):
    found = check(tmp_path, json.dumps({"strata": [{"at_risk": {"x": [9, 4, 1]}}]}).encode())
    assert len(found) == 1
    assert "2 counts below 5 in at_risk" in found[0].text
    assert not found[0].forbids


def test_what_cannot_be_checked_does_not_leave_by_itself(tmp_path):
    assert "not JSON" in check(tmp_path, b"\x00\x01")[0].text


def test_manual_waits_and_never_forbids(tmp_path):
    assert not check(tmp_path, b"{}", how="manual")[0].forbids


def test_never(tmp_path):
    assert check(tmp_path, b"{}", disclosure="individual", how="never")[0].forbids

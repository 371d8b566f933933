"""The disclosure check on sealed outputs."""

from __future__ import annotations

import json

import pytest

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
    return findings(policy.terms(policy.tools[0], task), task, tmp_path)


def test_nothing_against_counts_that_are_large_or_zero(tmp_path):
    assert check(tmp_path, json.dumps({"at_risk": [0, 5, 60, 10**400, "5", "-"], "other": 1}).encode()) == []


def test_small_counts_are_found_wherever_they_are_nested(tmp_path):
    found = check(tmp_path, json.dumps({"strata": [{"at_risk": {"x": [9, 4, 1]}}]}).encode())
    assert len(found) == 1
    assert found[0].refusal == "release.small_count"
    assert found[0].text == "holds counts of persons from 1 to below 5 in at_risk; suppress or join small groups"


@pytest.mark.parametrize("how", ["automatic", "manual"])
def test_no_person_may_let_a_small_count_out(tmp_path, how):
    refusals = [finding.refusal for finding in check(tmp_path, b'{"at_risk": 4}', how=how)]
    assert "release.small_count" in refusals


def test_a_count_written_as_text_is_a_count(tmp_path):
    assert check(tmp_path, b'{"at_risk": ["4", "<5", "", null, true]}')[0].refusal == "release.small_count"


@pytest.mark.parametrize(
    "content",
    [
        b"\x00\x01",
        b'{"at_risk": 3, "at_risk": 30}',
        b'{"at_risk": 1' + b"0" * 9999 + b"}",
        b'{"at_risk": NaN}',
        b"[" * 100_000,
    ],
    ids=["bytes", "twice", "long", "nan", "open"],
)
def test_what_cannot_be_checked_waits_for_a_person(tmp_path, content):
    (found,) = check(tmp_path, content)
    assert found.refusal is None
    assert "cannot be checked" in found.text


def test_without_a_minimum_nothing_is_checked(tmp_path):
    assert check(tmp_path, b'{"at_risk": 1}', minimum=0) == []


def test_manual_waits_for_a_person(tmp_path):
    assert check(tmp_path, b"{}", how="manual")[0].refusal is None


def test_never(tmp_path):
    assert check(tmp_path, b"{}", disclosure="individual", how="never")[0].refusal == "release.forbidden"

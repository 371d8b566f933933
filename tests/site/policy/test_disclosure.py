"""Policy and rules together: what keeps the sealed outputs of tools that declare nothing."""

from __future__ import annotations

import json

import pytest

from fedproc.contract.tool.task import Task
from fedproc.site.policy.disclosure import findings
from fedproc.site.policy.engine.findings import Result
from fedproc.site.policy.policy_file import Policy

DIGEST = "sha256:" + "a" * 64


def check(tmp_path, raw, *, minimum=5, disclosure="aggregate", how="automatic", fields=("at_risk",), **task):
    (tmp_path / "table").mkdir()
    (tmp_path / "table" / "t.json").write_bytes(raw)
    output = {"name": "table", "path": "t.json", "disclosure": disclosure, "min_count_fields": list(fields)}
    values = {"name": "local", "placement": "client", "runtime": {"requirements": "r.lock"}, "command": ["true"]}
    line = {"id": "km", "digest": DIGEST, "without_review": task.pop("without_review", [])}
    rules = Policy.model_validate({"minimum_count": minimum, "release": {disclosure: how}, "tools": [line]})
    made = Task.model_validate(values | {"outputs": [output | task.pop("output", {})]} | task)
    return [(each.rule.id, str(each.result)) for each in findings(rules.terms(rules.tools[0], made), made, tmp_path)]


def test_undeclared_aggregate_waits_for_a_person_though_nothing_is_against_its_counts(tmp_path):
    found = check(tmp_path, json.dumps({"at_risk": [0, 5, 60, "5", "-"], "other": 1}).encode())
    assert found == [("declared.what", "review")]


def test_undeclared_aggregate_leaves_where_the_site_waives_the_review_of_this_digest(tmp_path):
    assert check(tmp_path, b'{"at_risk": 5}', without_review=["aggregate"]) == []


@pytest.mark.parametrize(
    "raw",
    [b'{"strata": [{"at_risk": {"x": [9, 4, 1]}}]}', b'{"at_risk": ["4", "<5", "", null, true]}', b'{"at_risk": 4}'],
    ids=["nested", "text", "plain"],
)
@pytest.mark.parametrize("how", ["automatic", "manual"])
@pytest.mark.parametrize("waived", [[], ["aggregate"]], ids=["", "waived"])
def test_small_count_of_a_named_field_is_refused_whatever_the_policy_waives(tmp_path, raw, how, waived):
    assert ("persons.floor", "refuse") in check(tmp_path, raw, how=how, without_review=waived)


@pytest.mark.parametrize(("minimum", "least"), [(None, 10), (0, 5), (3, 5), (5, 5), (20, 20)])
def test_floor_is_ten_unless_the_site_says_so_and_never_below_five(tmp_path, minimum, least):
    (tmp_path / "a").mkdir()
    assert ("persons.floor", "refuse") not in check(tmp_path / "a", b'{"at_risk": %d}' % least, minimum=minimum)
    (tmp_path / "b").mkdir()
    assert ("persons.floor", "refuse") in check(tmp_path / "b", b'{"at_risk": %d}' % (least - 1), minimum=minimum)


@pytest.mark.parametrize(
    "raw",
    [
        b"\x00\x01",
        b'{"at_risk": 3, "at_risk": 30}',
        b'{"at_risk": 1' + b"0" * 9999 + b"}",
        b'{"at_risk": NaN}',
        b"[" * 100_000,
    ],
    ids=["bytes", "twice", "long", "nan", "open"],
)
def test_what_cannot_be_checked_waits_for_a_person(tmp_path, raw):
    assert ("read.strict", "review") in check(tmp_path, raw)


def test_manual_waits_for_a_person_and_never_is_refused(tmp_path):
    assert ("policy.release", "review") in check(tmp_path, b"{}", how="manual")
    (tmp_path / "x").mkdir()
    assert ("policy.release", "refuse") in check(tmp_path / "x", b"{}", disclosure="individual", how="never")


@pytest.mark.parametrize(
    ("inputs", "more", "waits"),
    [
        ([], {}, False),
        ([{"name": "letter", "kind": "upload"}], {}, False),
        ([{"name": "data", "kind": "dataset", "optional": True}], {}, True),
        ([], {"ports": [{"name": "grpc", "port": 8080}]}, True),
        ([], {"ports": [{"name": "grpc", "port": 8080}], "output": {"artefact_for": ["client"]}}, False),
    ],
)
@pytest.mark.parametrize("disclosure", ["report", "public"])
def test_undeclared_report_leaves_by_itself_only_of_a_task_that_saw_no_data(tmp_path, inputs, more, waits, disclosure):
    found = check(tmp_path, b"{}", disclosure=disclosure, inputs=inputs, **more)
    assert bool(found) is waits


@pytest.mark.parametrize("disclosure", ["aggregate", "model"])
def test_lines_for_every_digest_let_nothing_of_persons_leave_by_itself(disclosure):
    for line in ({"release": {disclosure: "automatic"}}, {"without_review": [disclosure]}, {}):
        rules = Policy.model_validate(
            {"release": {disclosure: "automatic"}, "tools": [{"id": "km", "digest": "*"} | line]}
        )
        output = {"name": "o", "path": "o", "disclosure": disclosure}
        task = Task.model_validate(
            {
                "name": "t",
                "placement": "client",
                "runtime": {"requirements": "r"},
                "command": ["x"],
                "outputs": [output],
            }
        )
        terms = rules.terms(rules.tools[0], task)
        assert (terms.of("o"), terms.without_review) == ("manual", frozenset())


def test_verdicts_are_ordered():
    assert [str(each) for each in Result] == ["pass", "review", "refuse"]

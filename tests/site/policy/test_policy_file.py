"""The site's policy: what it admits, what it refuses and with which reason."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from tests.support.sample_tools import task as sample_task
from tests.support.sample_tools import tool

from fedproc.common.errors import InvalidInputError, RefusedError
from fedproc.contract.ids import new_id
from fedproc.contract.times import now
from fedproc.contract.tool.task import OutputDecl, Task
from fedproc.contract.tool.tool import Tool, ToolRef
from fedproc.contract.wire.messages import Deadlines, JobOrder, User
from fedproc.site.policy import policy_file as module
from fedproc.site.policy.demands import check_privacy
from fedproc.site.policy.policy_file import Policy, ToolRule, connection_budget

DIGEST = "sha256:" + "a" * 64
SUMS = {
    "path": "sums.json",
    "disclosure": "aggregate",
    "content": {
        "type": "json",
        "json_schema": {"type": "object", "additionalProperties": False, "properties": {"n": {"type": "integer"}}},
    },
    "statistics": [{"statistic": "frequencies", "persons": "n"}],
}
OTHER = "sha256:" + "b" * 64


def order(**changes) -> JobOrder:
    soon = now() + timedelta(hours=1)
    values = {
        "job": new_id("j"),
        "experiment": new_id("e"),
        "task": "local",
        "tool": ToolRef(id="km", version="1.0.0", digest=DIGEST),
        "user": User(sub="alice"),
        "deadlines": Deadlines(start_by=soon, end_by=soon, release_by=soon),
    }
    return JobOrder(**(values | changes))


def task(**changes) -> Task:
    values = {"name": "local", "placement": "client", "runtime": {"requirements": "r.lock"}, "command": ["true"]}
    return Task.model_validate(values | changes)


def policy(**rule) -> Policy:
    return Policy.model_validate({"tools": [{"id": "km", "digest": DIGEST} | rule]})


@pytest.mark.parametrize(
    ("rules", "changes", "code"),
    [
        (Policy(), {}, "policy.tool_unknown"),
        (policy(digest="sha256:" + "b" * 64), {}, "policy.digest"),
        (policy(users=["bob"]), {}, "policy.user"),
        (policy(digest="*").model_copy(update={"recalled": (DIGEST,)}), {}, "policy.recalled"),
        (
            Policy.model_validate({"purposes": ["research"], "tools": [{"id": "km", "digest": "*"}]}),
            {},
            "policy.purpose",
        ),
    ],
)
def test_refusals_of_an_order(rules, changes, code):
    with pytest.raises(RefusedError) as caught:
        rules.rule(order(**changes))
    assert caught.value.code == code


def lines(*rules, **site) -> Policy:
    return Policy.model_validate({"tools": [{"id": "km", "digest": "*"} | rule for rule in rules]} | site)


@pytest.mark.parametrize(
    ("rules", "admits"),
    [
        ([{"users": ["bob"]}, {"users": ["alice"]}], 1),
        ([{"digest": DIGEST, "users": ["bob"]}, {}], 1),
        ([{"id": "other"}, {"digest": OTHER}, {"digest": DIGEST, "users": ["bob"]}, {"users": ["al*"]}], 3),
        ([{"users": ["alice"]}, {"users": ["*"]}], 0),
        ([{}, {"digest": DIGEST, "users": ["alice"]}], 0),
    ],
)  # fmt: skip
def test_the_first_line_that_admits_tool_digest_and_user_counts(rules, admits):
    found = lines(*rules)
    assert found.rule(order()) is found.tools[admits]


@pytest.mark.parametrize(
    ("rules", "code"),
    [
        ([{"id": "other"}], "policy.tool_unknown"),
        ([{"digest": OTHER, "users": ["alice"]}, {"digest": "sha256:" + "c" * 64}], "policy.digest"),
        ([{"users": ["bob"]}, {"digest": DIGEST, "users": ["carol"]}], "policy.user"),
        ([{"digest": OTHER}, {"users": ["bob"]}], "policy.user"),
    ],
)
def test_if_no_line_admits_the_refusal_says_how_far_the_nearest_went(rules, code):
    with pytest.raises(RefusedError) as caught:
        lines(*rules).rule(order())
    assert caught.value.code == code


def test_lines_of_one_tool_are_not_combined():
    found = lines(
        {"users": ["alice"], "release": {"model": "never"}},
        {"connections": [{"task": "server", "max_mb": 2}], "received_code": True, "release": {"model": "automatic"}},
    )
    rule = found.rule(order())
    assert found.release_of(rule, OutputDecl(name="o", path="o", disclosure="model")) == "never"
    assert connection_budget(rule, "server") == 0
    with pytest.raises(RefusedError, match="line for tool 'km'"):
        found.check_task(rule, task(connections=[{"name": "server", "task": "server", "port": "grpc"}]))
    with pytest.raises(RefusedError, match="line for tool 'km'"):
        found.check_task(rule, task(runs_received_code=True))


def test_an_empty_list_of_users_admits_nobody():
    assert lines({}).rule(order())
    with pytest.raises(RefusedError) as caught:
        lines({"users": []}).rule(order())
    assert caught.value.code == "policy.user"


def test_the_centre_is_told_an_admission_once():
    found = lines({"users": ["alice"]}, {"users": ["bob"]}, {"digest": DIGEST})
    assert [(tool.id, tool.digest) for tool in found.admitted()] == [("km", None), ("km", DIGEST)]


def test_admission_by_digest_by_star_and_by_user_pattern():
    assert policy().rule(order()).id == "km"
    assert policy(digest="*").rule(order()).digest == "*"
    assert policy(users=["al*"]).rule(order())


@pytest.mark.parametrize(
    ("maximum", "within", "beyond"),
    [
        ({"memory_mb": 100}, {"memory_mb": 100}, {"memory_mb": 101}),
        ({"run_seconds": 10}, {"run_seconds": 10}, {"run_seconds": 11}),
        ({"gpus": 0}, {}, {"gpu": {"count": 1}}),
        ({"cpus": 1}, {"cpus": 1}, {"cpus": 1.5}),
    ],
)
def test_too_large(maximum, within, beyond):
    rules = Policy.model_validate({"maximum": maximum, "tools": [{"id": "km", "digest": "*"}]})
    rules.check_task(rules.tools[0], task(resources=within))
    with pytest.raises(RefusedError, match="this site's limit") as caught:
        rules.check_task(rules.tools[0], task(resources=beyond))
    assert caught.value.code == "policy.too_large"


def test_a_connection_is_refused_unless_named_with_a_budget():
    wanting = task(connections=[{"name": "server", "task": "server", "port": "grpc"}])
    with pytest.raises(RefusedError) as caught:
        policy().check_task(policy().tools[0], wanting)
    assert caught.value.code == "policy.network"
    allowing = policy(connections=[{"task": "server", "max_mb": 2}])
    allowing.check_task(allowing.tools[0], wanting)
    assert connection_budget(allowing.tools[0], "server") == 2_000_000
    assert connection_budget(allowing.tools[0], "other") == 0


def test_serving_a_port_is_a_connection_too():
    with pytest.raises(RefusedError, match="connection"):
        policy().check_task(policy().tools[0], task(ports=[{"name": "grpc", "port": 8080}]))


def test_received_code_must_be_allowed():
    running = task(runs_received_code=True)
    with pytest.raises(RefusedError) as caught:
        policy().check_task(policy().tools[0], running)
    assert caught.value.code == "policy.code"
    allowing = policy(received_code=True)
    allowing.check_task(allowing.tools[0], running)


def test_release_by_class_and_what_is_not_named_never_leaves():
    def out(disclosure):
        return OutputDecl(name="o", path="o", disclosure=disclosure)

    rules = policy(release={"aggregate": "automatic"})
    assert rules.release_of(rules.tools[0], out("aggregate")) == "automatic"
    assert rules.release_of(rules.tools[0], out("model")) == "manual"
    assert rules.release_of(rules.tools[0], out("individual")) == "never"


def test_a_misspelt_key_is_named(tmp_path):
    (tmp_path / "policy.toml").write_text("minimum_counts = 3\n")
    with pytest.raises(InvalidInputError, match=r"minimum_counts"):
        module.load(tmp_path / "policy.toml")
    with pytest.raises(InvalidInputError, match="cannot be read"):
        module.load(tmp_path / "absent.toml")


@pytest.mark.parametrize(
    ("rules", "lost"),
    [
        ([{}, {"users": ["alice"]}], "tools no. 2 (km) never counts: no. 1 "),
        ([{"users": ["alice", "bob"]}, {"id": "x"}, {"digest": DIGEST, "users": ["bob"]}], "no. 3 (km) never counts"),
        ([{"users": ["alice"]}, {"users": []}], "no. 2 (km) never counts"),
        (
            [{"release": {"aggregate": "automatic"}}],
            "tools no. 1 (km): what says something of persons leaves by itself",
        ),
        ([{"without_review": ["model"]}], "tools no. 1 (km): what says something of persons leaves by itself"),
    ],
)
def test_a_line_that_can_never_count_is_told(rules, lost):
    with pytest.raises(InvalidInputError) as caught:
        module.check_order(Path("p.toml"), lines(*rules))
    assert lost in caught.value.message


def test_count_below_the_lowest_floor_is_told_and_taken_as_that():
    with pytest.raises(InvalidInputError, match="minimum_count: 3 counts as 5"):
        module.check_order(Path("p"), Policy(minimum_count=3))
    assert Policy(minimum_count=3).least_count == 5
    with pytest.raises(ValueError, match="greater than or equal to 5"):
        Policy(floor=4)
    assert (Policy().least_count, Policy(floor=12, minimum_count=5).least_count) == (10, 12)


def test_a_line_that_may_count_is_not_told():
    site = {"users": ["alice", "bob"]}
    module.check_order(Path("p"), lines({"digest": DIGEST}, {"digest": OTHER}, {"users": ["*"]}, {"id": "x"}, **site))
    module.check_order(Path("p"), lines({"users": ["al*"]}, {"users": ["alice", "bob"]}, {}, users=["carol"]))


GRID = {"step": 365, "end": 1825}


@pytest.mark.parametrize("asked", [{"time_grid": GRID}, {"time_grid": {"end": 1825.0, "step": 365.0}, "more": 1}])
def test_a_line_takes_its_values_of_a_parameter(asked):
    fixed = policy(parameters={"time_grid": [{"points": [365]}, GRID]})
    assert fixed.rule(order(parameters=asked)).id == "km"


@pytest.mark.parametrize(
    "asked", [{}, {"time_grid": {"step": 365, "end": 1460}}, {"time_grid": {"points": [1000]}}, {"time_grid": None}]
)
def test_a_line_refuses_other_values_of_a_parameter_and_names_those_that_it_takes(asked):
    fixed = policy(parameters={"time_grid": [GRID]})
    with pytest.raises(RefusedError, match=r'takes only time_grid=\{"step": 365, "end": 1825\}') as caught:
        fixed.rule(order(parameters=asked))
    assert caught.value.code == "policy.parameters"


@pytest.mark.parametrize(("asked", "taken"), [(True, 1), (0, False), ([1], [True]), ("1", 1), (None, 0)])
def test_values_of_other_types_are_other_values(asked, taken):
    with pytest.raises(RefusedError, match="takes only missing="):
        policy(parameters={"missing": [taken]}).rule(order(parameters={"missing": asked}))


@pytest.mark.parametrize("values", [[], [float("nan")], [datetime(2026, 1, 1, tzinfo=UTC)], "refuse"])
def test_values_that_no_order_could_have_are_a_fault_of_the_policy(values, tmp_path):
    text = tomli_w.dumps({"tools": [{"id": "km", "digest": "*", "parameters": {"missing": values}}]})
    (tmp_path / "policy.toml").write_text(text)
    with pytest.raises(InvalidInputError, match=r"tools.*parameters.*missing"):
        module.load(tmp_path / "policy.toml")


def test_recalled_version_is_not_among_what_the_centre_is_told():
    told = policy().model_copy(update={"recalled": (DIGEST,)})
    assert policy().admitted()
    assert told.admitted() == ()


def protecting(beside: Mapping[str, Any] | None = None, **properties) -> Tool:
    """A tool with these parameters, whose task at a site reads data; ``beside``: what else the task has."""
    inputs = [{"name": "table", "kind": "dataset"}]
    more = {"outputs": [], **(beside or {})}
    outputs = [{**SUMS, "name": "sums"}, *more.pop("outputs")]
    local = sample_task("local", inputs=inputs, outputs=outputs, **more)
    return tool("km", local, sample_task("server", "server", ports=PORTS), parameters=schema_of(properties))


def schema_of(properties) -> dict:
    return {"type": "object", "additionalProperties": False, "properties": properties}


PORTS = [{"name": "p", "port": 1234}]
SECURE = {"type": "boolean", "default": False, "x-secure-sums": ["local.sums"]}
EPSILON, DELTA = ({"type": "number", "x-privacy": name} for name in ("epsilon", "delta"))


def refusal_of(rule: ToolRule, asked: Tool, **parameters) -> str | None:
    given = order(parameters=parameters)
    try:
        check_privacy(asked.task("local"), given, asked, secure_sums=rule.secure_sums, most=rule.differential_privacy)
    except RefusedError as error:
        assert error.code == "policy.privacy"
        return error.message
    return None


def test_site_that_demands_secure_sums_takes_nothing_else():
    (rule,) = policy(secure_sums=True).tools
    text = "this site demands secure sums of this tool: ask for secure_sums=true"
    assert refusal_of(rule, protecting(secure_sums=SECURE), secure_sums=True) is None
    assert refusal_of(rule, protecting(secure_sums=SECURE), secure_sums=False) == text
    assert refusal_of(rule, protecting(secure_sums=SECURE)) == text
    without = refusal_of(rule, protecting(secure_sums={"type": "boolean"}), secure_sums=True)
    assert without == "this site demands secure sums of this tool: this version has no parameter for it; ask the site"
    (lenient,) = policy().tools
    assert refusal_of(lenient, protecting(secure_sums=SECURE)) is None


BESIDE: dict[str, dict[str, Any]] = {
    "another output of persons": {"outputs": [{"name": "rows", "path": "rows.csv", "disclosure": "individual"}]},
    "metrics": {"metrics": [{"name": "loss"}]},
    "a connection": {"connections": [{"name": "peer", "task": "server", "port": "p"}]},
    "a port": {"ports": PORTS},
}


@pytest.mark.parametrize("what", BESIDE)
def test_demand_of_secure_sums_is_not_met_by_one_masked_output_beside_what_leaves_plain(what):
    (rule,) = policy(secure_sums=True).tools
    refused = refusal_of(rule, protecting(BESIDE[what], secure_sums=SECURE), secure_sums=True)
    assert refused == "this site demands secure sums of this tool: this version has no parameter for it; ask the site"


def test_report_beside_masked_outputs_meets_the_demand_of_secure_sums():
    (rule,) = policy(secure_sums=True).tools
    asked = protecting({"outputs": [{"name": "log", "path": "log.txt", "disclosure": "report"}]}, secure_sums=SECURE)
    assert refusal_of(rule, asked, secure_sums=True) is None


@pytest.mark.parametrize(
    ("given", "refused"),
    [
        ({"epsilon": 1.0, "delta": 1e-6}, False),
        ({"epsilon": 2, "delta": 1e-5}, False),
        ({"epsilon": 2.1, "delta": 1e-6}, True),
        ({"epsilon": 1, "delta": 1e-4}, True),
        ({"epsilon": 1}, True),
        ({"epsilon": None, "delta": 1e-6}, True),
        ({"epsilon": True, "delta": 1e-6}, True),
        ({}, True),
    ],
)
def test_site_that_demands_differential_privacy_takes_no_larger_loss(given, refused):
    (rule,) = policy(differential_privacy={"epsilon": 2, "delta": 1e-5}).tools
    text = refusal_of(rule, protecting(epsilon=EPSILON, delta=DELTA), **given)
    assert (text is not None) == refused
    if refused:
        assert text.endswith("ask for epsilon of at most 2 and delta of at most 1e-05")
    assert "no parameter for it" in refusal_of(rule, protecting(epsilon={"type": "number"}), **given)


def test_task_without_data_is_refused_no_protection():
    (rule,) = policy(secure_sums=True, differential_privacy={"epsilon": 2, "delta": 1e-5}).tools
    assert refusal_of(rule, tool("km", sample_task("local"))) is None


@pytest.mark.parametrize("wrong", [{"epsilon": 0, "delta": 1e-5}, {"epsilon": 1}, {"epsilon": 1, "delta": 1.0}])
def test_demand_of_differential_privacy_that_is_none_is_refused(wrong):
    with pytest.raises(ValueError, match="differential_privacy"):
        policy(differential_privacy=wrong)


def test_centre_is_told_what_a_line_demands():
    (line,) = policy(secure_sums=True, differential_privacy={"epsilon": 2, "delta": 1e-5}).admitted()
    assert line.secure_sums
    assert line.differential_privacy == {"epsilon": 2.0, "delta": 1e-5}
    (plain,) = policy().admitted()
    assert plain.model_dump(exclude_defaults=True) == {"id": "km", "digest": DIGEST}

"""From a request and a tool to jobs, hosts and deadlines: pure functions, by hand."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.books import HOSTS
from tests.support.sample_tools import CHAIN, GANG, LONE, WATCHED, need, task, tool

from fedproc.central.experiments.gangs import gang_tasks
from fedproc.central.experiments.parameters import Parameters
from fedproc.central.experiments.placement import HostFacts, named_hosts, plan, windows
from fedproc.common.errors import InvalidInputError
from fedproc.contract.api.experiments import ExperimentRequest
from fedproc.contract.tool.tool import Tool

KNOWN = {host: HostFacts(host, True, frozenset(roles), {"cohort": "3"}) for host, roles in HOSTS.items()}
DATASET = {"name": "table", "kind": "dataset"}


def _plan(asked: Tool, known: dict[str, HostFacts] = KNOWN, **request: Any) -> list[tuple[str, str]]:
    found = plan(ExperimentRequest(tool=asked.id, **request), asked, known, "EUCAIM")
    return [(job.task.name, job.host) for job in found.jobs]


def _faults(asked: Tool, known: dict[str, HostFacts] = KNOWN, **request: Any) -> list[tuple[str, str]]:
    with pytest.raises(InvalidInputError) as caught:
        _plan(asked, known, **request)
    assert all(field_error["cure"] for field_error in caught.value.detail["errors"])
    return [(field_error["where"], field_error["what"]) for field_error in caught.value.detail["errors"]]


def test_each_kind_of_task_has_its_hosts() -> None:
    mixed = tool("mixed", task("a", "client"), task("b", "worker"), task("c", "server"))
    assert _plan(mixed, hosts=["FORTH", "UB"]) == [
        ("a", "FORTH"), ("a", "UB"), ("b", "FORTH"), ("b", "UB"), ("c", "EUCAIM"),
    ]  # fmt: skip
    with_compute = {**KNOWN, "GPU": HostFacts("GPU", True, frozenset({"compute"}), {})}
    assert _plan(mixed, with_compute, hosts=["UB", "GPU"]) == [("a", "UB"), ("b", "UB"), ("b", "GPU"), ("c", "EUCAIM")]


def test_selection_is_of_all_datasets_unless_one_has_its_own() -> None:
    reading = tool("reading", task("a", "client", inputs=[DATASET]), task("b", "client"))
    chosen = {"selection": {"modality": ["CT"]}, "dataset_selections": {"UB:cohort": {"patient": ["P1"]}}}
    request = ExperimentRequest(tool="reading", datasets=["BSC:cohort", "UB:cohort"], **chosen)
    placed = plan(request, reading, KNOWN, "EUCAIM")
    assert [(job.host, {name: one.as_json() for name, one in job.selections.items()}) for job in placed.jobs] == [
        ("BSC", {"cohort": {"modality": ["CT"]}}), ("UB", {"cohort": {"patient": ["P1"]}}), ("BSC", {}), ("UB", {}),
    ]  # fmt: skip


def test_selection_of_what_is_not_chosen_is_refused() -> None:
    reading = tool("reading", task("a", "client", inputs=[DATASET]))
    selections = {"FORTH:cohort": {"modality": ["CT"]}}
    faults = _faults(reading, datasets=["UB:cohort"], dataset_selections=selections)
    assert faults == [("dataset_selections.FORTH:cohort", "FORTH:cohort is not among the chosen datasets")]
    assert ("selection", "no dataset is chosen of which it could select") in _faults(
        reading, hosts=["UB"], selection={"modality": ["CT"]}
    )


@pytest.mark.slow
def test_a_host_that_would_have_nothing_to_do_is_refused() -> None:
    with_compute = {**KNOWN, "GPU": HostFacts("GPU", True, frozenset({"compute"}), {})}
    ((where, what),) = _faults(tool("clients", task("a", "client")), with_compute, hosts=["UB", "GPU"])
    assert (where, what) == ("hosts", "GPU is enrolled as compute; no task would run there")


@pytest.mark.parametrize("state", ["missing", "revoked", "another role"])
def test_without_an_aggregator_nothing_that_needs_one(state: str) -> None:
    changed = {
        "missing": {},
        "revoked": {"EUCAIM": HostFacts("EUCAIM", False, frozenset({"aggregator"}), None)},
        "another role": {"EUCAIM": HostFacts("EUCAIM", True, frozenset({"data"}), None)},
    }[state]
    known = {**{host: facts for host, facts in KNOWN.items() if host != "EUCAIM"}, **changed}
    assert ("tool", "tool chain needs an aggregator, and EUCAIM is not enrolled and active as one") in _faults(
        CHAIN, known, hosts=["UB"]
    )
    assert _plan(LONE, known, hosts=["UB"]) == [("work", "UB")]


def test_datasets_choose_the_hosts_and_keep_their_version() -> None:
    reading = tool("reading", task("a", "client", inputs=[DATASET]))
    request = ExperimentRequest(tool="reading", datasets=["BSC:cohort", "UB:cohort"])
    assert named_hosts(request, "EUCAIM") == {"BSC", "UB", "EUCAIM"}
    placed = plan(request, reading, KNOWN, "EUCAIM")
    assert [(job.host, [(use.id, use.version) for use in job.datasets]) for job in placed.jobs] == [
        ("BSC", [("cohort", "3")]), ("UB", [("cohort", "3")]),
    ]  # fmt: skip
    assert placed.request.hosts == ["BSC", "UB"]
    optional = tool("reading", task("a", "client", inputs=[{**DATASET, "optional": True}]))
    assert _plan(optional, hosts=["UB"]) == [("a", "UB")]


def test_gangs_are_those_that_start_together() -> None:
    assert gang_tasks(GANG) == {"server", "client"}
    assert gang_tasks(CHAIN) == gang_tasks(LONE) == gang_tasks(WATCHED) == frozenset()


def test_a_later_tasks_time_begins_when_the_earlier_ones_may_last_be_released() -> None:
    found = windows(CHAIN, now=1000, start_within=50, hold=600, release=2000)
    local, total = found["local"], found["total"]
    assert (local.start_by, local.end_by, local.release_by) == (1050, 1150, 3150)
    assert (total.start_by, total.end_by, total.release_by) == (3200, 3300, 5300)
    gang = windows(GANG, now=1000, start_within=50, hold=600, release=2000)
    assert gang["client"].end_by == 1050 + 100 + 600, "it may hold for the others before it runs"


def test_a_long_chain_of_tasks_does_not_take_long() -> None:
    tasks = [task("t0")] + [task(f"t{n}", needs=[need(f"t{m}", "exited") for m in range(n)]) for n in range(1, 25)]
    assert len(windows(tool("long", *tasks), 0, 1, 1, 1)) == 25


SCHEMA = {
    "type": "object",
    "required": ["column", "share"],
    "properties": {
        "column": {"type": "string"},
        "share": {"type": "number", "x-scope": "host"},
        "limit": {"type": "integer", "default": 10},
        "model": {
            "type": "object",
            "default": {},
            "properties": {"depth": {"type": "integer", "default": 3}, "names": {"default": []}},
        },
    },
}


def test_defaults_are_filled_in_also_inside_and_never_shared() -> None:
    asked = tool("asked", task("a"), parameters=SCHEMA)
    given = Parameters(asked, {"column": "age", "model": {}}, {"UB": {"share": 0.5}})
    assert given.of("UB") == {"column": "age", "share": 0.5, "limit": 10, "model": {"depth": 3, "names": []}}
    given.of("UB")["model"]["names"].append("x")
    assert given.of("UB")["model"]["names"] == []
    assert given.field_errors("UB", chosen=True) == []
    assert [field_error["what"] for field_error in given.field_errors("BSC", chosen=True)] == [
        "'share' is missing: a number"
    ]
    assert given.field_errors("EUCAIM", chosen=False) == [], "who was not chosen need not be given what differs by host"


def test_a_schema_fetches_nothing_from_anywhere() -> None:
    remote = {"type": "object", "properties": {"x": {"$ref": "http://127.0.0.1:9/schema.json"}}}
    (field_error,) = Parameters(tool("remote", task("a"), parameters=remote), {"x": 1}, {}).field_errors(
        "UB", chosen=True
    )
    assert field_error["cure"] == "tell the tool's provider"


PICKY = {
    "type": "object",
    "additionalProperties": False,
    "required": ["rounds"],
    "properties": {
        "rounds": {"type": "integer", "minimum": 1},
        "rates": {"type": "array", "items": {"type": "integer"}, "default": [1.0]},
        "seed": {"type": "integer", "default": None},
        "note": {"type": ["string", "null"], "default": None},
    },
}


def _told(**parameters: Any) -> list[tuple[str, str, str]]:
    given = Parameters(tool("picky", task("a"), parameters=PICKY), parameters, {})
    return [(entry["where"], entry["what"], entry["cure"]) for entry in given.field_errors("UB", chosen=True)]


def test_ten_point_zero_is_the_whole_number_ten_wherever_it_stands() -> None:
    given = Parameters(tool("picky", task("a"), parameters=PICKY), {"rounds": 10.0, "rates": [2.0, 3]}, {})
    values = given.of("UB")
    assert (repr(values["rounds"]), repr(values["rates"])) == ("10", "[2, 3]")
    assert given.field_errors("UB", chosen=True) == []
    default = Parameters(tool("picky", task("a"), parameters=PICKY), {"rounds": 1}, {}).of("UB")["rates"]
    assert repr(default) == "[1]"
    assert [what for _, what, _ in _told(rounds=10.5)] == ["must be a whole number of 1 or more, and is 10.5"]


def test_a_default_of_null_is_none_where_null_is_no_value() -> None:
    values = Parameters(tool("picky", task("a"), parameters=PICKY), {"rounds": 1}, {}).of("UB")
    assert "seed" not in values
    assert values["note"] is None


def test_wrong_parameters_are_told_all_at_once_with_what_is_right() -> None:
    see = "fedproc tools show picky shows its parameters"
    known = "there are note, rates, rounds, seed"
    wrong = 'must be a list, each entry a whole number, and is "all"'
    assert sorted(_told(round=3, rates="all")) == [
        ("parameters", "'rounds' is missing: a whole number of 1 or more", f"for example rounds=1; {see}"),
        ("parameters.rates", wrong, f"for example 'rates=[1.0]'; {see}"),
        ("parameters.round", f"there is no parameter 'round'; did you mean rounds? {known}", see),
    ]


def test_a_host_that_is_not_there_is_told_once() -> None:
    names = lambda: ["UB", "FORTH"]  # noqa: E731
    request = ExperimentRequest(tool="reading", hosts=["FORHT"])
    reading = tool("reading", task("a", "client", inputs=[DATASET]))
    with pytest.raises(InvalidInputError) as caught:
        plan(request, reading, KNOWN, "EUCAIM", names=names)
    assert [entry["what"] for entry in caught.value.detail["errors"]] == ["FORHT is not enrolled; did you mean FORTH?"]


def test_a_request_for_fewer_hosts_than_a_tool_needs_is_refused() -> None:
    rule = {"action": "continue", "min_hosts": 2}
    needy = tool("needy", task("a", "worker"), on_host_lost=rule)
    assert _plan(needy, hosts=["UB", "BSC"])
    assert _faults(needy, hosts=["UB"]) == [("hosts", "needy needs 2 hosts or more, and 1 is chosen")]
    assert _plan(tool("any", task("a", "worker"), on_host_lost={"min_hosts": 2}), hosts=["UB"]), "it fails with a host"

"""A job's order at its three steps: what each adds, and that it has the form that hosts read."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from tests.support.sample_tools import LONE

from fedproc.central.experiments import orders
from fedproc.central.experiments.orders import DeadlinesJson, Drafts, OrderJson
from fedproc.central.experiments.placement import Placed, Window
from fedproc.contract.api.experiments import ExperimentRequest
from fedproc.contract.ids import new_id
from fedproc.contract.tool.tool import ToolRef
from fedproc.contract.wire.messages import DatasetUse, Deadlines, FileRef, JobOrder, User

NOW = 1_800_000_000.0
FILE = FileRef(file=new_id("f"), sha256="0" * 64, size=1, path="table.csv", input="table")


def drafts(*gang: str) -> Drafts:
    tool = ToolRef(id="lone", version="1.0.0", digest="sha256:" + "0" * 64)
    request = ExperimentRequest(tool="lone", hosts=["UB"], project="p", parameters={"column": "age"})
    windows = {"work": Window(NOW + 1, NOW + 2, NOW + 3)}
    return Drafts(new_id("e"), tool, User(sub="rosa"), request, windows, frozenset(gang))


def drafted(made: Drafts) -> OrderJson:
    """A whole order."""
    own = made.draft(new_id("j"), placed())
    return orders.whole(own, made.parts.values())  # type: ignore[return-value]


def placed() -> Placed:
    return Placed("UB", LONE.tasks[0], {"column": "age"}, (DatasetUse(id="cohort", version="1"),))


def test_json_forms_name_every_part_of_what_hosts_read() -> None:
    assert OrderJson.__annotations__.keys() == JobOrder.model_fields.keys()
    assert DeadlinesJson.__annotations__.keys() == Deadlines.model_fields.keys()


def test_draft_has_what_the_request_says() -> None:
    order = JobOrder.model_validate(drafted(drafts()))
    assert (order.task, order.project, order.parameters) == ("work", "p", {"column": "age"})
    assert order.datasets == placed().datasets
    assert order.deadlines.end_by == datetime.fromtimestamp(NOW + 2, UTC)
    assert not order.gang


def test_drafts_of_one_task_do_not_share_what_differs() -> None:
    made = drafts()
    one, two = new_id("j"), new_id("j")
    first = made.draft(one, placed())
    bare = made.draft(two, Placed("UB", LONE.tasks[0], {}, ()))
    assert (first["job"], bare["job"]) == (one, two)
    assert "parameters" not in first, "they are all hosts'"
    assert "datasets" not in bare


def test_complete_adds_files_and_keys_and_keeps_what_it_does_not_know() -> None:
    draft = drafted(drafts())
    draft["newer"] = 1  # type: ignore[typeddict-unknown-key]
    order = orders.complete(draft, [FILE], {"BSC": {"kid": "k"}})
    read = JobOrder.model_validate(order)
    assert read.inputs == (FILE,)
    assert read.recipients == {"BSC": {"kid": "k"}}
    assert read.deadlines.hold_until is None
    assert order["newer"] == 1  # type: ignore[typeddict-item]


def test_stamp_names_the_hosts_and_lets_a_gang_hold_from_now_on() -> None:
    order = orders.complete(drafted(drafts("work")), [], {})
    sent = JobOrder.model_validate(orders.stamp(order, {"work": ["UB"]}, NOW + 50, 20))
    assert sent.hosts == {"work": ("UB",)}
    assert sent.deadlines.hold_seconds == 20
    assert sent.deadlines.hold_until == datetime.fromtimestamp(NOW + 70, UTC)


def test_order_expires_at_its_last_deadline() -> None:
    assert orders.expires(drafted(drafts())) == NOW + 3


def test_whole_order_has_the_parameters_of_all_and_those_of_its_host_beside_and_above_them() -> None:
    request = ExperimentRequest(
        tool="lone", hosts=["UB"], parameters={"a": 1, "b": {"c": 1, "d": 2}}, host_parameters={"UB": {"b": {"c": 3}}}
    )
    made = replace(drafts(), request=request)
    own = made.draft(new_id("j"), Placed("UB", LONE.tasks[0], {"a": 1, "b": {"c": 3}}, ()))
    assert own["parameters"] == {"b": {"c": 3}}
    assert orders.whole(own, made.parts.values())["parameters"] == {"a": 1, "b": {"c": 3}}
    assert request.parameters["b"] == {"c": 1, "d": 2}, "what is shared stays as it was"


def test_split_takes_out_long_lists_alone_and_whole_puts_them_back() -> None:
    peers = [{"task": "server", "job": new_id("j"), "host": "UB", "number": n} for n in range(40)]
    message = {"job": new_id("j"), "peers": peers, "artefacts": [{"file": new_id("f")}]}
    own, parts = orders.split("e", message)
    assert set(own) == {"job", "artefacts"}
    assert orders.whole(own, parts) == message
    again = orders.split("e", {**message, "job": new_id("j")})[1]
    assert [part.id for part in again] == [part.id for part in parts], "others have the same"
    assert orders.split("f", message)[1][0].id != parts[0].id, "each experiment has its own"

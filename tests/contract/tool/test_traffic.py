"""A manifest says how much goes over a connection, in a place over which readers of the release before pass."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError
from tests.support.sample_tools import task, tool

from fedproc.catalog.signing import canonical_content
from fedproc.contract.tool.checks import hints
from fedproc.contract.tool.tool import Manifest, Tool
from fedproc.contract.tool.traffic import RoundsDecl
from fedproc.contract.wire.jws import canonical

SCHEMA = {"type": "object", "properties": {"rounds": {"type": "integer"}}}
TRAFFIC: dict[str, Any] = {
    "sends_mb": 0.5,
    "receives_mb": 2,
    "rounds": {"most": 40, "parameter": "rounds", "beside": 1},
}
PORT = {"name": "http", "port": 8080}


def connected(traffic: Any = None, **more: Any) -> Tool:
    connection = {"name": "server", "task": "sum", "port": "http"} | ({"traffic": traffic} if traffic else {})
    client = task("client", connections=[connection])
    return tool("one", task("sum", placement="server", ports=[PORT]), client, **{"parameters": SCHEMA} | more)


def test_declared_traffic_comes_back_as_it_was_written_and_is_no_key_of_a_connection_on_the_wire() -> None:
    made = Manifest(tool=connected(TRAFFIC), files=())
    content = canonical_content(made)
    assert Manifest.model_validate_json(canonical(content)) == made
    (sent,) = content["tool"]["tasks"][1]["connections"]
    assert "traffic" not in sent
    assert content["tool"]["parameters"]["x-connections"]["client"]["server"]["sends_mb"] == 0.5
    traffic = made.tool.task("client").connections[0].traffic
    assert traffic is not None
    assert (traffic.sends_bytes, traffic.receives_bytes) == (500_000, 2_000_000)


def test_tool_without_it_is_sent_as_before() -> None:
    content = canonical_content(Manifest(tool=connected(), files=()))
    assert content["tool"]["parameters"] == SCHEMA


@pytest.mark.parametrize(
    "declared",
    [{"sum": {"server": TRAFFIC}}, {"client": {"other": TRAFFIC}}, {"client": 3}, [], None, {"client": {"server": 3}}],
)
def test_keyword_that_names_no_connection_is_refused(declared: object) -> None:
    written = connected().model_dump(mode="json")
    with pytest.raises(ValidationError):
        Tool.model_validate(written | {"parameters": {**SCHEMA, "x-connections": declared}})


@pytest.mark.parametrize(
    ("traffic", "fault"),
    [
        (TRAFFIC | {"rounds": {"most": 40, "parameter": "round"}}, "there is no parameter 'round'"),
        (TRAFFIC | {"sends_mb": 0}, "greater than 0"),
        (TRAFFIC | {"rounds": {"most": 0}}, "greater than or equal to 1"),
        (TRAFFIC | {"messages": [{"name": "free text"}]}, "pattern"),
    ],
)
def test_traffic_that_is_wrong_is_refused(traffic: Any, fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        connected(traffic)


@pytest.mark.parametrize(
    ("asked", "limit"), [(25, 26), (1, 2), (39, 40), (4000, 40), (-7, 1), (None, 40), (True, 40), ("9", 40), (2.5, 40)]
)
def test_rounds_are_those_of_the_parameter_and_never_more_than_declared(asked: object, limit: int) -> None:
    rounds = RoundsDecl.model_validate(TRAFFIC["rounds"])
    assert rounds.limit({"rounds": asked} if asked is not None else {}) == limit


def test_connection_that_does_not_say_how_much_is_told() -> None:
    assert [hint for hint in hints(connected().tasks) if "'traffic'" in hint] == [
        "task client: connection server does not say how much goes over it ('traffic'): nothing but a site's own budget"
        " bounds it"
    ]
    assert not [hint for hint in hints(connected(TRAFFIC).tasks) if "'traffic'" in hint]

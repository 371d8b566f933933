"""Messages of the rounds of a regression, as their tool declares them, and what a liar would send."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from fedproc.catalog.folder import load_tool
from fedproc.common.tasks import StopFlag
from fedproc.contract.tool.messages import MessageDecl
from fedproc.site.policy.engine.findings import Result
from fedproc.site.policy.engine.known import CATEGORIES, COLUMNS, Known
from fedproc.site.policy.engine.message_rules import against
from fedproc.site.policy.engine.messages import RefusedMessageError, checked

CATALOGUE = Path(__file__).parents[4] / "tool_catalog"
NAMES = ["cohort", "1.0", "event", "age", "stage", "a", "I", "II"]
KNOWN = Known(
    {
        "dataset": lambda: NAMES, "order": lambda: ["UB"], "parameters": lambda: ["event ~ age + stage", "cohort", 10],
        COLUMNS: lambda: ["event", "age", "stage"], CATEGORIES: lambda: NAMES,
    }
)  # fmt: skip
INTRODUCTION: dict[str, Any] = {
    "host": "UB", "round": 0, "answer": {
        "schema_version": 1, "dataset": {"id": "cohort", "version": "1.0"},
        "request": {"formula": "event ~ age + stage", "table": "", "missing": "refuse", "min_cell": 10},
        "columns": [{"name": "age", "type": "number", "unit": "a", "values": []},
                    {"name": "stage", "type": "category", "unit": None, "values": ["I", "II"]}],
        "terms": ["age", "stage[T.II]"], "n": 120, "rows": {"used": 120, "left_out": 0}, "events": 81,
        "smallest_group": 30, "means": [52.5, 0.25], "squares": [1.5e3, 22.5]}}  # fmt: skip
ROUND: dict[str, Any] = {
    "host": "UB", "round": 3,
    "answer": {"log_likelihood": -71.5, "gradient": [0.5, 1, -2.0], "information": [[1.0, 0.5, 0.1]] * 3},
}  # fmt: skip

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def declared() -> MessageDecl:
    traffic = load_tool(CATALOGUE / "logistic_regression").tool.task("client").connections[0].traffic
    assert traffic is not None
    assert traffic.sends is not None
    return traffic.sends


def refused(declared: MessageDecl, message: Any, floor: int = 10) -> set[str]:
    raw = message if isinstance(message, bytes) else json.dumps(message).encode()
    return {each.rule.id for each in against(declared, raw, floor, KNOWN)[1] if each.result is Result.refuse}


@pytest.mark.parametrize("message", [INTRODUCTION, ROUND, {**ROUND, "answer": {"refused": "few_persons"}}])
def test_honest_message_goes(declared: MessageDecl, message: Any) -> None:
    assert refused(declared, message) == set()


def edited(change: Callable[[dict[str, Any]], Any], of: dict[str, Any] = INTRODUCTION) -> dict[str, Any]:
    message = deepcopy(of)
    change(message["answer"])
    return message


LIES: dict[str, tuple[Any, str]] = {
    "another field": (edited(lambda a: a.update(rows_of_patients=[[1.0, 2.0]])), "read.schema"),
    "another field beside": ({**ROUND, "notes": "Maria Ortiz"}, "read.schema"),
    "a text for a number": (edited(lambda a: a.update(gradient=["Maria Ortiz"]), ROUND), "read.schema"),
    "a name as term": (edited(lambda a: a["terms"].append("Maria Ortiz")), "read.schema"),
    "a name as category": (edited(lambda a: a["columns"][1]["values"].append("Maria Ortiz")), "read.schema"),
    "a category as it is not": (edited(lambda a: a["terms"].append("stage[T.Maria Ortiz]")), "read.schema"),
    "another host": ({**ROUND, "host": "Maria Ortiz"}, "read.schema"),
    "few persons": (edited(lambda a: a.update(n=7)), "persons.floor"),
    "few events": (edited(lambda a: a.update(events=3)), "persons.floor"),
    "few without": (edited(lambda a: a.update(events=117)), "persons.complement"),
    "few left out": (edited(lambda a: a["rows"].update(left_out=2)), "persons.complement"),
    "a small group": (edited(lambda a: a.update(smallest_group=4)), "persons.floor"),
    "sums without persons": (edited(lambda a: a.pop("n")), "read.schema"),
    "numbers without end": (edited(lambda a: a.update(gradient=[0.5] * 1002), ROUND), "read.schema"),
}


@pytest.mark.parametrize("what", LIES)
def test_lie_is_refused(declared: MessageDecl, what: str) -> None:
    message, rule = LIES[what]
    assert rule in refused(declared, message)


def test_floor_is_the_sites(declared: MessageDecl) -> None:
    assert refused(declared, INTRODUCTION, floor=50) == {"persons.floor", "persons.complement"}


def test_in_a_process_apart_blanks_and_spellings_are_lost_and_a_refusal_names_fields_and_no_value(
    declared: MessageDecl,
) -> None:
    raw = json.dumps(ROUND, indent=7).encode()
    assert checked(declared, raw, 10, KNOWN, StopFlag()) == json.dumps(ROUND).encode()
    for lie in (
        {**ROUND, "notes": "Maria Ortiz"},
        b'{"round": 1, "round": 2}',
        b"\xff\x00",
        json.dumps(ROUND).encode() + b"x",
    ):
        raw = lie if isinstance(lie, bytes) else json.dumps(lie).encode()
        with pytest.raises(RefusedMessageError) as error:
            checked(declared, raw, 10, KNOWN, StopFlag())
        assert "Maria" not in str(error.value)
        assert ("'notes'" in str(error.value)) == (b"notes" in raw)


CLOSED = {"type": "object", "additionalProperties": False, "properties": {"n": {"type": "integer"}}}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"json_schema": {"type": "object"}}, "takes any key"),
        ({"json_schema": {**CLOSED, "properties": {"n": {"type": "string"}}}}, "free text"),
        ({}, "a number of which nothing is said"),
        ({"numbers": ["m", "n"]}, "there is no m in it"),
        ({"numbers": ["n"], "path": "/a b"}, "path"),
    ],
)
def test_declaration_that_leaves_room_is_refused(more: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        MessageDecl.model_validate({"path": "/answers", "json_schema": CLOSED} | more)
    assert MessageDecl.model_validate({"path": "/answers", "json_schema": CLOSED, "numbers": ["n"]})

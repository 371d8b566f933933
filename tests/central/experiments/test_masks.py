"""Orders of masked sums: each names all hosts of the sum, and hosts that know nothing of masks refuse it."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from tests.support.books import Belt, Books
from tests.support.sample_tools import need, task, tool

from fedproc.common.errors import InvalidInputError
from fedproc.contract.tool.tool import Tool
from fedproc.contract.wire.jws import unseal
from fedproc.contract.wire.messages import JobOrder

SCHEMA = {"type": "object", "additionalProperties": False, "properties": {"n": {"type": "integer"}}}
SUMS = {
    "name": "sums",
    "path": "sums.json",
    "disclosure": "aggregate",
    "content": {"type": "json", "json_schema": SCHEMA},
    "statistics": [{"statistic": "frequencies", "persons": "n"}],
}
CHOICE = {"type": "boolean", "default": False, "x-secure-sums": ["local.sums"]}


def adding(choice: dict[str, Any] = CHOICE, output: dict[str, Any] = SUMS, **more: Any) -> Tool:
    local = task("local", inputs=[{"name": "table", "kind": "dataset"}], outputs=[output])
    server = task("total", "server", needs=[need("local", "exited")])
    schema = {"type": "object", "additionalProperties": False, "properties": {"secure_sums": choice}}
    return tool("adding", local, server, parameters=schema, **more)


def _sent(books: Books) -> dict[str, tuple[tuple[str, ...], JobOrder]]:
    belt, key = Belt(), books.dispatch_key
    asyncio.run(books.publisher().publish_all(belt, time.time()))  # type: ignore[arg-type]
    found = {}
    for host, raw in belt.carried:
        envelope, order = unseal(raw, {key.thumbprint(): key}, aud=host)
        assert isinstance(order, JobOrder)
        found[host] = envelope.crit, order
    return found


DATASETS = ["UB:cohort", "BSC:cohort", "FORTH:cohort"]


def test_order_names_all_hosts_of_the_sum_with_keys_and_jobs_and_must_be_understood(books: Books) -> None:
    """A host of the release before, which knows no masks, does not let its numbers leave plain: it refuses."""
    books.add_tool(adding())
    experiment = books.submit(tool="adding", datasets=DATASETS, parameters={"secure_sums": True})
    found = _sent(books)
    assert set(found) == {"UB", "BSC", "FORTH"}
    for crit, order in found.values():
        assert crit == ("masks",)
        assert {host: part.job for host, part in order.masks.items()} == {
            host: books.job_on(experiment, host, "local").id for host in found
        }
        assert {host: part.key["kid"] for host, part in order.masks.items()} == {
            host: books.hosts.keys[host].thumbprint() for host in found
        }


@pytest.mark.parametrize("given", [{}, {"secure_sums": False}])
def test_without_masks_an_order_is_as_it_was(books: Books, given: dict[str, Any]) -> None:
    books.add_tool(adding())
    books.submit(tool="adding", datasets=DATASETS, parameters=given)
    assert {(crit, bool(order.masks)) for crit, order in _sent(books).values()} == {((), False)}


def test_masked_sum_of_two_hosts_is_refused_at_once(books: Books) -> None:
    books.add_tool(adding())
    with pytest.raises(InvalidInputError, match="a masked sum is of 3 hosts or more"):
        books.submit(tool="adding", datasets=DATASETS[:2], parameters={"secure_sums": True})
    books.submit(tool="adding", datasets=DATASETS[:2])


def beside(schema: dict[str, Any]) -> dict[str, Any]:
    """The output with ``more`` of this schema beside what is counted."""
    content = {"type": "json", "json_schema": {**SCHEMA, "properties": {**SCHEMA["properties"], "more": schema}}}
    return {**SUMS, "content": content}


KNOWN_BEFORE = [
    {"const": 3}, {"type": "integer", "x-from": ["parameters"]}, {"type": "string", "x-from": ["dataset"]},
    {"enum": ["number", None]}, {"type": "null"},
]  # fmt: skip


@pytest.mark.parametrize("schema", KNOWN_BEFORE)
def test_what_is_known_before_may_stand_beside_masked_numbers(schema: dict[str, Any]) -> None:
    assert adding(output=beside(schema)).parameters["properties"]["secure_sums"] == CHOICE


COUNTED = {"statistic": "linear_aggregation", "persons": "n"}
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "an output that is none": ({"choice": {**CHOICE, "x-secure-sums": ["local.other"]}}, "is no output of this tool"),
    "no choice": ({"choice": {**CHOICE, "type": "string", "default": "no"}}, "it is a boolean"),
    "one host's choice": ({"choice": {**CHOICE, "x-scope": "host"}}, "the same for all hosts"),
    "no content": ({"output": {**SUMS, "content": None, "statistics": ()}}, "one JSON file with declared content"),
    "no statistics": ({"output": {**SUMS, "statistics": ()}}, "whose numbers are those that are masked"),
    "a spread that does not add up": (
        {"output": {**SUMS, "statistics": [{**COUNTED, "standard_deviation": "sd"}]}},
        "sd of a linear_aggregation cannot",
    ),
    "squares about a mean that is not told": (
        {"output": {**SUMS, "statistics": [{**COUNTED, "sum_of_squares": "m2"}]}}, "m2 of a linear_aggregation cannot"
    ),
    "a number of no statistic": (
        {"output": beside({"type": "integer", "minimum": 0, "maximum": 9})}, "more would leave"
    ),
    "a choice of numbers": ({"output": beside({"enum": [1, 2]})}, "more would leave"),
    "a text of the tool's own": (
        {"output": beside({"type": "string", "pattern": "^[a-z]+$", "maxLength": 9})}, "more would leave"
    ),
    "yes or no": ({"output": beside({"type": "boolean"})}, "more would leave"),
    "any key": ({"output": {**SUMS, "content": {"type": "json", "json_schema": {"type": "object"}}}}, "leaves open"),
    "to go on without a host": ({"on_host_lost": {"action": "continue"}}, "on_host_lost must be fail"),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_tool_whose_outputs_have_no_masked_sum_is_refused(what: str) -> None:
    changed, text = WRONG[what]
    with pytest.raises(ValueError, match=text):
        adding(**changed)

"""What no database takes is refused wherever a request may hold it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.central.api.test_openapi import published
from tests.support.central_api import Federation

pytestmark = [pytest.mark.server, pytest.mark.slow]

NUL = "\x00"


def _asked(running: Any) -> Iterator[tuple[str, dict[str, str]]]:
    """Each path and each text of a query of what can be read, with a NUL in one place."""
    known = {
        "experiment_id": running.experiment, "job_id": running.id, "task_id": running.id, "tool_id": "count",
        "tool_name": "count", "host_id": "UB", "dataset_id": "UB:cohort",
    }  # fmt: skip
    for path, methods in published()["paths"].items():
        parameters = methods.get("get", {}).get("parameters", [])
        there = {each["name"]: known.get(each["name"], "x") for each in parameters if each["in"] == "path"}
        for each in parameters:
            if each["in"] == "query":
                yield path.format(**there), {each["name"]: NUL}
            elif each["in"] == "path":
                yield path.format(**{**there, each["name"]: "%00"}), {}


def test_nul_is_refused_or_finds_nothing_in_each_place(federation: Federation, running: Any) -> None:
    """PostgreSQL has no NUL in a text."""
    failed, tried = [], 0
    with federation.operator() as client:
        for path, query in _asked(running):
            tried += 1
            with client.stream("GET", path, params=query) as answer:
                if answer.status_code >= 500:
                    failed.append((path, [*query]))
    assert failed == []
    assert tried > 60

"""Whatever a tool declares and writes, the rules come to an end without a fault, and nothing unread passes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from tests.support.anything import BYTES, JSON, as_json, bent
from tests.support.declaring import COUNT, NUMBER, closed, csv_output, entries, json_output, output
from tests.support.examples import examples

from fedproc.contract.tool.declared import problems_of
from fedproc.contract.tool.task import OutputDecl
from fedproc.site.policy.engine.engine import inspect
from fedproc.site.policy.engine.findings import Result, verdict
from fedproc.site.policy.engine.known import Known

WHOLE = json_output(
    closed(
        n=COUNT,
        note={"type": "string", "pattern": "^[a-z]+$", "maxLength": 20},
        cells=entries(stage={"enum": ["I", "II", None]}, sex={"enum": ["F", None]}, n=COUNT),
        rows=entries(at_risk=COUNT, events=COUNT),
        groups=entries(n=COUNT, missing=COUNT, mean=NUMBER, m2=NUMBER, q=NUMBER, rate=NUMBER),
    ),
    {"statistic": "frequencies", "at": "cells[]", "persons": "n", "dimensions": ["stage", "sex"], "total": "n"},
    {"statistic": "survival", "at": "rows[]", "persons": "at_risk", "counts": ["events"]},
    {"statistic": "linear_aggregation", "at": "groups[]", "persons": "n", "mean": "mean", "sum_of_squares": "m2"},
    {"statistic": "position", "at": "groups[]", "persons": "n", "complements": ["missing"], "quantile": "q"},
    {"statistic": "performance", "at": "groups[]", "persons": "n", "rates": ["rate"]},
    {"statistic": "regression", "persons": "n"},
)
DOCUMENT = {
    "n": 30,
    "note": "x",
    "cells": [{"stage": "I", "sex": "F", "n": 30}, {"stage": None, "sex": "F", "n": None}],
    "rows": [{"at_risk": 30, "events": 10}],
    "groups": [{"n": 30, "missing": 0, "mean": 1.5, "m2": 3.0, "q": 0.5, "rate": 0.5}],
}
TABLE = csv_output([{"name": "n", "type": "integer"}], {"statistic": "frequencies", "persons": "n"})
DECLARED = [WHOLE, TABLE, output(None), output({"type": "model"}), output({"type": "image"}), output({"type": "text"})]


def looked_at(declared: OutputDecl, folder: Any, raw: bytes) -> Result:
    (folder / "t.json").write_bytes(raw)
    found = inspect(declared, folder, 10, Known({"parameters": lambda: [1, "a"]}))
    for each in found:
        each.text.encode()
    return verdict(found)


@pytest.mark.slow
@examples(300)
@given(declared=st.sampled_from(DECLARED), raw=st.one_of(BYTES, bent(DOCUMENT).map(as_json), JSON.map(as_json)))
def test_any_bytes_are_looked_at(tmp_path_factory: Any, declared: OutputDecl, raw: bytes) -> None:
    looked_at(declared, tmp_path_factory.mktemp("o"), raw)


@pytest.mark.slow
@examples(200)
@given(declared=bent(WHOLE.model_dump(mode="json")), document=bent(DOCUMENT))
def test_any_declaration_is_followed_or_refused(tmp_path_factory: Any, declared: Any, document: Any) -> None:
    try:
        made = OutputDecl.model_validate(declared)
    except ValidationError:
        return
    for problem in problems_of(made):
        problem.encode(errors="replace")
    result = looked_at(made, tmp_path_factory.mktemp("o"), as_json(document))
    if made.content is None or problems_of(made):
        assert result is not Result.passed

"""Names of columns in parameters are held against those of the chosen datasets."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.books import HOSTS
from tests.support.sample_tools import task, tool

from fedproc.central.experiments.placement import HostFacts, plan
from fedproc.common.errors import InvalidInputError
from fedproc.contract.api.experiments import ExperimentRequest
from fedproc.contract.tool.tool import Tool

COLUMNS = frozenset({"age", "tumour_size", "time"})
FORMULA = {"type": "string", "x-columns": "formula"}
PER_HOST = {"type": "string", "x-columns": "name", "x-scope": "host"}


def _known(**columns: frozenset[str]) -> dict[str, HostFacts]:
    return {
        host: HostFacts(
            host,
            True,
            frozenset(roles),
            {"cohort": "3", "other": "1"},
            columns={"cohort": columns.get(host)}.get,
        )
        for host, roles in HOSTS.items()
    }


def _tool(**properties: Any) -> Tool:
    reading = tool("reading", task("a", "client", inputs=[{"name": "table", "kind": "dataset"}]))
    parameters = {"type": "object", "properties": properties, "additionalProperties": False}
    return reading.model_copy(update={"parameters": parameters})


def _faults(asked: Tool, known: dict[str, HostFacts], **request: Any) -> list[dict[str, str]]:
    values = {"tool": asked.id, "datasets": ["UB:cohort", "BSC:cohort"], **request}
    try:
        plan(ExperimentRequest.model_validate(values), asked, known, "EUCAIM")
    except InvalidInputError as error:
        return list(error.detail["errors"])
    return []


def test_column_that_no_dataset_has_is_told_once_with_the_nearest() -> None:
    known = _known(UB=COLUMNS, BSC=COLUMNS)
    assert _faults(_tool(formula=FORMULA), known, parameters={"formula": "tumor_size ~ age"}) == [
        {
            "where": "parameters.formula",
            "what": "there is no column 'tumor_size' in UB:cohort, BSC:cohort; did you mean tumour_size?",
            "cure": "fedproc data show UB:cohort lists its columns",
        }
    ]
    assert _faults(_tool(formula=FORMULA), known, parameters={"formula": "tumour_size ~ log(age)"}) == []


def test_datasets_whose_columns_are_not_known_say_nothing() -> None:
    wrong = {"formula": "tumor_size ~ age"}
    assert _faults(_tool(formula=FORMULA), _known(), parameters=wrong) == []
    (only,) = _faults(_tool(formula=FORMULA), _known(BSC=COLUMNS), parameters=wrong)
    assert only["what"].startswith("there is no column 'tumor_size' in BSC:cohort;")
    with_another = ["UB:cohort", "UB:other"]
    assert _faults(_tool(formula=FORMULA), _known(UB=COLUMNS), parameters=wrong, datasets=with_another) == []


def test_default_names_a_column_too() -> None:
    (only,) = _faults(_tool(target={**FORMULA, "default": "malignant"}), _known(UB=COLUMNS))
    assert (only["where"], "'malignant'" in only["what"]) == ("parameters.target", True)


@pytest.mark.parametrize(("at_ub", "count"), [("age", 0), ("agee", 1)])
def test_parameter_of_one_host_is_held_against_its_own_columns(at_ub: str, count: int) -> None:
    known = _known(UB=frozenset({"age"}), BSC=frozenset({"edad"}))
    given = {"UB": {"column": at_ub}, "BSC": {"column": "edad"}}
    assert len(_faults(_tool(column=PER_HOST), known, host_parameters=given)) == count

"""A dataset that holds nothing of what a tool reads is refused before anything starts."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.books import HOSTS
from tests.support.sample_tools import task, tool

from fedproc.central.experiments.placement import HostFacts, plan
from fedproc.common.errors import InvalidInputError
from fedproc.contract.api.experiments import ExperimentRequest

IMAGES = {"name": "images", "kind": "dataset", "media_types": ["application/dicom"]}
TABLE = {"name": "table", "kind": "dataset", "media_types": ["text/csv"]}
HELD: dict[str, tuple[str, ...] | None] = {
    "ct": ("images",), "cohort": ("tables",), "both": ("images", "tables"), "raw": ("files",),
    "scans": ("images", "files"), "old": None, "later": ("genomes",),
}  # fmt: skip
KNOWN = {
    host: HostFacts(host, True, frozenset(roles), dict.fromkeys(HELD, "1"), kinds=HELD) for host, roles in HOSTS.items()
}


def faults(*names: str, inputs: list[dict[str, Any]], host: str = "UB") -> list[dict[str, str]]:
    asked = tool("reader", task("local", inputs=inputs))
    request = ExperimentRequest(tool="reader", datasets=[f"{host}:{name}" for name in names])
    try:
        plan(request, asked, KNOWN, "EUCAIM")
    except InvalidInputError as error:
        return list(error.detail["errors"])
    return []


def test_fault_says_what_the_dataset_holds_what_the_tool_reads_and_where_others_are() -> None:
    assert faults("ct", "cohort", inputs=[IMAGES]) == [
        {
            "where": "datasets",
            "what": "UB:cohort holds tables and no DICOM images, and reader reads DICOM images",
            "cure": "leave it out, or choose others: fedproc data list --kind images",
        }
    ]
    (fault,) = faults("ct", inputs=[TABLE])
    assert fault["what"] == "UB:ct holds DICOM images and no tables, and reader reads tables"
    assert fault["cure"].endswith("fedproc data list --kind tables")


def test_more_datasets_of_a_host_than_the_tool_takes_are_refused_and_named() -> None:
    schema = {"type": "object", "properties": {}, "x-datasets-per-host": 1}
    asked = tool("reader", task("local", inputs=[TABLE]), parameters=schema)
    with pytest.raises(InvalidInputError) as caught:
        plan(ExperimentRequest(tool="reader", datasets=["UB:cohort", "UB:both", "BSC:cohort"]), asked, KNOWN, "EUCAIM")
    assert caught.value.detail["errors"] == [
        {
            "where": "datasets",
            "what": "reader takes 1 dataset of each host, and 2 of UB are chosen: UB:cohort, UB:both",
            "cure": "leave UB:both out; another experiment may take it",
        }
    ]
    plan(ExperimentRequest(tool="reader", datasets=["UB:cohort", "BSC:cohort"]), asked, KNOWN, "EUCAIM")
    assert faults("cohort", "both", inputs=[TABLE]) == []


def test_columns_are_not_missed_in_a_dataset_that_does_not_fit() -> None:
    schema = {"type": "object", "properties": {"column": {"type": "string", "x-columns": "name", "default": "time"}}}
    asked = tool("reader", task("local", inputs=[TABLE]), parameters=schema)
    facts = HostFacts("UB", True, frozenset({"data"}), {"ct": "1"}, kinds=HELD, columns=lambda _: frozenset())
    with pytest.raises(InvalidInputError) as caught:
        plan(ExperimentRequest(tool="reader", datasets=["UB:ct"]), asked, {"UB": facts}, "EUCAIM")
    assert [each["where"] for each in caught.value.detail["errors"]] == ["datasets"]


@pytest.mark.parametrize(
    ("name", "images", "tables"),
    [("ct", True, False), ("cohort", False, True), ("both", True, True), ("raw", False, True), ("scans", True, True),
     ("old", True, True), ("later", False, True)],
)  # fmt: skip
def test_dataset_is_refused_only_where_it_is_known_not_to_fit(name: str, images: bool, tables: bool) -> None:
    assert (faults(name, inputs=[IMAGES]) == [], faults(name, inputs=[TABLE]) == []) == (images, tables)


@pytest.mark.parametrize("media_types", [[], ["*/*"], ["application/dicom", "application/x-nifti"], ["text/*"]])
def test_input_that_says_nothing_or_what_is_not_known_here_reads_all(media_types: list[str]) -> None:
    assert faults("ct", "cohort", "raw", inputs=[{**IMAGES, "media_types": media_types}]) == []


def test_tool_that_reads_both_takes_either_in_one_input_and_needs_each_for_two() -> None:
    either = {**IMAGES, "media_types": ["application/dicom", "text/csv"]}
    assert faults("ct", "cohort", inputs=[either]) == []
    assert faults("ct", "cohort", inputs=[IMAGES, TABLE]) == []
    (fault,) = faults("ct", inputs=[IMAGES, TABLE])
    assert fault["what"] == "input table of task local reads tables, and none of UB:ct has any"
    assert faults("ct", inputs=[IMAGES, {**TABLE, "optional": True}]) == []

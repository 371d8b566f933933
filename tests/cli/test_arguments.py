"""``NAME=VALUE`` on the command line: JSON where it is some, text where it is none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fedproc.cli import arguments
from fedproc.common.errors import InvalidInputError
from fedproc.contract.wire.selection import Selection


@pytest.mark.parametrize(
    ("given", "value"),
    [("a=1", 1), ("a=x", "x"), ("a=", ""), ("a=b=c", "b=c"), ('a=["x", null]', ["x", None]), ("a=NaN=", "NaN=")],
)
def test_parameter_is_json_or_text(given: str, value: object) -> None:
    assert arguments.parameters(None, [given]) == {"a": value}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ('a={"step": 365, "end": 1825', "a: this is no JSON: Expecting ',' delimiter at its end, after"),
        ("a=[1, 2,, 3]", "at character 7, after '[1, 2,'"),
    ],
)
def test_json_that_is_broken_is_no_text(given: str, told: str) -> None:
    with pytest.raises(InvalidInputError) as error:
        arguments.parameters(None, [given])
    assert told in error.value.message
    assert arguments.parameters(None, ['a="[text]"']) == {"a": "[text]"}


def test_parameters_on_the_command_line_go_before_those_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "parameters.json"
    file.write_text(json.dumps({"a": 1, "b": 2}))
    assert arguments.parameters(file, ["a=3"]) == {"a": 3, "b": 2}


@pytest.mark.parametrize("content", ["[1]", "{", "\udcff"])
def test_file_of_parameters_that_is_no_object_is_named(tmp_path: Path, content: str) -> None:
    file = tmp_path / "parameters.json"
    file.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(InvalidInputError, match=str(file)):
        arguments.parameters(file, [])


def test_host_parameters_are_of_their_host() -> None:
    found = arguments.host_parameters(["UB.limit=3", "UB.note=a.b", "BSC.limit=4"])
    assert found == {"UB": {"limit": 3, "note": "a.b"}, "BSC": {"limit": 4}}


@pytest.mark.parametrize("given", ["limit=3", "=3", "UB.limit", "UB.=3"])
def test_argument_of_another_form_says_what_it_is_to_be(given: str) -> None:
    with pytest.raises(InvalidInputError, match="give it as"):
        arguments.host_parameters([given])


def test_input_is_a_file_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("rows")
    assert arguments.files([f"table={tmp_path}/table.csv"]) == {"table": tmp_path / "table.csv"}
    for given in (f"table={tmp_path}/tabel.csv", f"table={tmp_path}", "table"):
        with pytest.raises(InvalidInputError, match="NAME=FILE"):
            arguments.files([given])


def test_selection_is_of_all_datasets_or_of_one(tmp_path: Path) -> None:
    (tmp_path / "persons").write_text("P1\nP2\n\n")
    given = ["modality=CT,MR", "age=18..65", "UB:ct.v1.patient=@" + str(tmp_path / "persons"), "UB:ct.v1.patient=P3"]
    everywhere, single = arguments.selections([*given, "date=2020-01-01..", "sex=F", "segmentations=no"])
    assert everywhere == {
        "modality": ["CT", "MR"], "age_from": "18", "age_to": "65", "date_from": "2020-01-01", "sex": ["F"],
        "segmentations": False,
    }  # fmt: skip
    assert single == {"UB:ct.v1": {"patient": ["P1", "P2", "P3"]}}
    assert Selection.model_validate(everywhere).age_to == 65
    assert arguments.selections([]) == (None, {})


@pytest.mark.parametrize(
    ("given", "ends"),
    [
        ("age=40-69", {"age_from": "40", "age_to": "69"}),
        ("age=40 – 69.5", {"age_from": "40", "age_to": "69.5"}),
        ("age=40..", {"age_from": "40"}),
        ("age=50", {"age_from": "50", "age_to": "50"}),
        ("date=2020-01-01-2020-12-31", {"date_from": "2020-01-01", "date_to": "2020-12-31"}),
        ("date=2020-01-01", {"date_from": "2020-01-01", "date_to": "2020-01-01"}),
    ],
)
def test_range_may_be_written_with_a_dash(given: str, ends: dict[str, str]) -> None:
    assert arguments.selections([given]) == (ends, {})


@pytest.mark.parametrize("given", ["age=forty", "age=40-", "age=..", "date=2020..2021", "age=1-2-3"])
def test_range_of_another_form_says_in_one_sentence_how_it_is_written(given: str) -> None:
    with pytest.raises(InvalidInputError) as error:
        arguments.selections([given])
    assert error.value.message.startswith(f"'{given}': give it as {given[:4].rstrip('=')}=")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("age=69-40", "'age=69-40': 69 is after 40; give it as age="),
        ("age=100..9.5", "'age=100..9.5': 100 is after 9.5; give it as age="),
        ("date=2021-01-01..2020-01-01", "'date=2021-01-01..2020-01-01': 2021-01-01 is after 2020-01-01; give"),
    ],
)
def test_range_whose_end_is_before_its_beginning_is_told_as_it_was_given(given: str, said: str) -> None:
    with pytest.raises(InvalidInputError) as error:
        arguments.selections([given])
    assert error.value.message.startswith(said)


@pytest.mark.parametrize("given", ["modality", "modality=", "=CT", "colour=red", "ct.modality=CT", "patient=@/nothing"])
def test_selection_that_says_nothing_is_refused_as_it_was_given(given: str) -> None:
    with pytest.raises(InvalidInputError, match=given.partition("=")[0]):
        arguments.selections([given])

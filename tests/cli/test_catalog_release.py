"""What ``fedproc catalog check`` says would become of a tool's example outputs at a site."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fedproc.catalog.folder import load_tool
from fedproc.cli.catalog import catalog
from fedproc.cli.example_release import release_of
from fedproc.common.errors import InvalidInputError

ROOT = Path(__file__).parents[2]
CATALOGUE = [
    ROOT / "tool_catalog" / name
    for name in (
        "cohort_statistics",
        "dicom_quality",
        "dicom_summary",
        "flower_logistic",
        "host_acceptance",
        "model_inference",
        "radiomics_statistics",
    )
]
EXAMPLE = ROOT / "docs/examples/row_count"


@pytest.mark.slow
@pytest.mark.parametrize("folder", [*CATALOGUE, EXAMPLE], ids=lambda path: path.name)
def test_examples_of_our_tools_have_nothing_against_them_but_what_people_look_at(folder: Path) -> None:
    for entry in release_of(load_tool(folder), folder):
        assert entry["result"] is not None, entry
        assert {found["rule"] for found in entry["findings"]} <= {"policy.release", "look.person"}, entry


@pytest.fixture
def tool(tmp_path: Path) -> Path:
    return Path(shutil.copytree(EXAMPLE, tmp_path / "row_count"))


def checked(tool: Path, *more: str, code: int = 0) -> str:
    done = CliRunner().invoke(catalog, ["check", str(tool), *more], env={"COLUMNS": "300"})
    assert done.exit_code == code, done.output
    return done.output


@pytest.mark.slow
def test_small_count_of_an_example_is_told_with_its_rule(tool: Path) -> None:
    (tool / "test/example_output/count/count.json").write_text('{"rows": 9}')
    told = json.loads(checked(tool, "--json", code=1))[0]["release"]
    assert [entry["result"] for entry in told] == ["refuse", "review"]
    found = {entry["rule"]: entry for entry in told[0]["findings"]}["persons.floor"]
    assert (found["version"], found["threshold"], found["result"]) == (1, 10, "refuse")
    lines = [line for line in checked(tool, code=1).splitlines() if "count.count" in line]
    assert len(lines) == 1
    assert "never leaves" in lines[0]
    assert "(persons.floor v1)" in lines[0]
    assert "wait for a person" not in lines[0]


@pytest.mark.slow
def test_output_without_an_example_or_a_declaration_is_told(tool: Path) -> None:
    (tool / "test/example_output/add/total.json").unlink()
    text = (tool / "tool.yaml").read_text()
    (tool / "tool.yaml").write_text(text.replace("        content: *rows\n        statistics: *counts\n", ""))
    told = " ".join(checked(tool, code=3).split())
    assert "task add: output total does not say what it holds" in told
    assert "test/example_output/add" in told


@pytest.mark.slow
def test_examples_that_are_none_or_missing_are_told(tool: Path) -> None:
    (tool / "test/example_output/count/cuont.json").write_text("{}")
    (tool / "test/example_output/ad").mkdir()
    shutil.rmtree(tool / "test/example_input/count")
    told = checked(tool, code=3)
    assert "test/example_output/count/cuont.json: no output of the task has this path; did you mean count.json?" in told
    assert "test/example_output/ad: the tool has no task of this name; did you mean add?" in told
    assert "test/example_input/count is missing" in told


@pytest.mark.slow
def test_example_inputs_that_no_host_would_give_are_told(tool: Path) -> None:
    given = tool / "test/example_input"
    (given / "count/parameters.json").write_text('{"header": true')
    (given / "add/parameters.json").write_text('{"header": 1}')
    (given / "count/input/table/cohort/dataset.json").write_text('{"tables": {"cohort": "c.csv"}, "colums": []}')
    told = checked(tool, code=3)
    assert "test/example_input/count/parameters.json: not JSON: Expecting ',' delimiter (line 1)" in told
    assert "test/example_input/add/parameters.json: header: 1 is not of type 'boolean'" in told
    assert "test/example_input/count/input/table/cohort/dataset.json: expected columns: a list" in told


@pytest.mark.slow
def test_what_differs_from_the_schema_is_told_of_an_example_with_its_place(tool: Path) -> None:
    written = tool / "test/example_output/count/count.json"
    for text, told in (
        ('{"rows": "120"}', "says, at properties/rows/type: rows: '120' is not of type 'integer'"),
        ('{"rows": 120, "mean": 3}', "Additional properties are not allowed ('mean' was unexpected)"),
        ('{"rows": 120, "a\\u0007": 3}', "a text or a key holds a character that cannot be printed"),
    ):
        written.write_text(text)
        assert told in checked(tool, code=1)


@pytest.mark.slow
def test_tools_of_one_id_are_judged_each(tool: Path, tmp_path: Path) -> None:
    second = Path(shutil.copytree(tool, tmp_path / "second"))
    (tool / "test/example_output/count/count.json").write_text('{"rows": 9}')
    for places in ((tool, second), (second, tool)):
        done = CliRunner().invoke(catalog, ["check", *map(str, places)], env={"COLUMNS": "300"})
        assert (done.exit_code, done.output.count("never leaves")) == (1, 1)


def test_folder_that_holds_tools_stands_for_all_of_them(tool: Path, tmp_path: Path) -> None:
    second = Path(shutil.copytree(tool, tmp_path / "second"))
    for each in (tool, second):
        (each / "tool.yaml").write_text((each / "tool.yaml").read_text().replace("id: row-count", "id: Row"))
    told = checked(tmp_path, code=1)
    assert [f"{each}/tool.yaml:2" in told for each in (tool, second)] == [True, True]


def test_faults_of_several_tools_are_told_together(tool: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = CliRunner().invoke(catalog, ["check", str(tmp_path / "empty"), str(tool / "nothing")])
    assert done.exit_code == 1
    assert "holds no tool.yaml" in done.output
    assert "is no folder" in done.output


def test_declaration_with_room_for_free_text_is_refused_with_its_line(tool: Path) -> None:
    text = (tool / "tool.yaml").read_text()
    (tool / "tool.yaml").write_text(
        text.replace("rows: {type: integer}", "rows: {type: integer}, note: {type: string}")
    )
    with pytest.raises(
        InvalidInputError, match=r"tool.yaml:\d+: tasks.0.outputs.0.content: output count: note: free text"
    ):
        load_tool(tool)

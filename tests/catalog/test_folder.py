"""A tool's folder before it is published: whatever would fail at the first run is told with line and key."""

from __future__ import annotations

import shutil
import socket
import threading
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

from fedproc.catalog.folder import load_tool
from fedproc.common.errors import InvalidInputError
from fedproc.contract.tool.description import Survey

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "docs/examples/row_count"
ROW = "requirement==1.0 "


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return shutil.copytree(EXAMPLE, tmp_path / "tool")


def said(folder: Path, before: str, after: str) -> str:
    """What is told once ``before`` is ``after`` in tool.yaml."""
    text = (folder / "tool.yaml").read_text()
    assert before in text
    (folder / "tool.yaml").write_text(text.replace(before, after, 1))
    with pytest.raises(InvalidInputError) as caught:
        load_tool(folder)
    return caught.value.message


def line_of(folder: Path, piece: str) -> int:
    lines = (folder / "tool.yaml").read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if piece in line)


def test_half_of_a_character_is_told_with_its_line(folder: Path) -> None:
    told = said(folder, "default: true", 'default: true, description: "\\uD800"')
    assert f"{folder}/tool.yaml:{line_of(folder, 'uD800')}: holds half of a character" in told


def test_folder_without_a_tool_is_told_how_to_begin(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "empty").mkdir()
    for place, text in (
        (tmp_path / "empty", "holds no tool.yaml: fedproc catalog new NAME writes a tool to begin with"),
        (tmp_path / "absent", "is no folder: name the one that holds the tool's tool.yaml"),
        (tmp_path, "holds no tool.yaml, and tools are below it: name each (tool)"),
    ):
        with pytest.raises(InvalidInputError) as caught:
            load_tool(place)
        assert caught.value.message == f"{place} {text}"


SURVEY = yaml.safe_load((EXAMPLE / "tool.yaml").read_text())["survey"]
MAY_BE_LEFT_OUT = {"dataset", "certification", "libraries", "aggregation_strategy"}


def test_example_says_which_questions_of_the_survey_may_be_left_out() -> None:
    (line,) = [line for line in (EXAMPLE / "tool.yaml").read_text().splitlines() if line.startswith("survey:")]
    assert line.endswith("; dataset, certification, libraries, aggregation_strategy may be left out")
    assert {name for name, field in Survey.model_fields.items() if not field.is_required()} == MAY_BE_LEFT_OUT
    assert SURVEY.keys() == Survey.model_fields.keys() - MAY_BE_LEFT_OUT
    assert len(Survey.model_fields) == 20


@pytest.mark.parametrize("question", sorted(SURVEY))
def test_question_that_is_not_among_them_is_asked_for_by_name(folder: Path, question: str) -> None:
    lines = (folder / "tool.yaml").read_text().splitlines(keepends=True)
    begin = next(number for number, line in enumerate(lines) if line.startswith("survey:"))
    where = next(n for n, line in enumerate(lines) if n > begin and line.startswith(f"  {question}:"))
    (folder / "tool.yaml").write_text("".join([*lines[:where], *lines[where + 1 :]]))
    with pytest.raises(InvalidInputError, match=f"survey.{question}: "):
        load_tool(folder)


CASES = [
    ("{source}/count.py", "{source}/cuont.py", "cuont.py", "{source}/cuont.py is not in the folder"),
    ("requirements.lock", "requirements.txt", "requirements.txt", "requirements.txt is not in the folder"),
    ("default: true", "default: 'yes'", "default: 'yes'", "header.default: this default would be refused"),
    ("default: true", "default: null", "default: null", "this default would be refused as a value: None"),
    (
        "additionalProperties: false", "additionalProperties: false\n  required: [headre]", "[headre]",
        "parameters.required.0: there is no parameter headre; known are header",
    ),
    ("mode: federated ", "mode: distributed ", "mode:", "mode: distributed is each site for itself, and add"),
    ("mode: federated ", "mode: standalone ", "mode:", "mode: standalone is one task, and there are 2"),
    ("placement: server ", "placement: worker ", "mode:", "mode: federated is a task at the sites and one"),
    ("version: 1.0.0", "version: 1.0.0\nmode: federated", "mode: federated  ", "mode: stands in line 4 already"),
    ("    description: Count ", "    name: x\n    description: Count ", "    name: x", "name: stands in line"),
    ("task: count, output: count", "task: count, output: total", "output: total", "task add: input counts: task count"),
    ("{output}/total.json", "{outptu}/total.json", "{outptu}", "task add: placeholder {outptu} is unknown"),
    (
        "output: count}", "output: count, media_types: [text/csv]}", "media_types: [text/csv]",
        "media_types: output count of task count is application/json",
    ),
    (
        "  name: Row count", "\tname: Row count", "\tname: Row",
        "a tab stands here, and YAML is indented by blanks alone",
    ),
    ("version: 1.0.0", "version: 1.0", "version: 1.0", "version: must be text: put it in quotes; a version is three"),
    (
        "version: 1.0.0", "version: v1", "version: v1",
        'version: is no version; a version is three whole numbers, as vers',
    ),
    (
        "id: row-count", "id: Row Count", "id: Row",
        "id: is no name of this kind: one has small letters and digits, with",
    ),
    (
        "    inputs:\n      - {name: t", "    inptus:\n      - {name: t", "{name: t",
        "inptus: is not known here; did you mean inputs?",
    ),
    ("cpus: 0.5", "cpus: half", "cpus: half", "tasks.0.resources.cpus: must be a number"),
    (
        "needs:\n      - {task: count, condition: exited}", "needs: count", "needs: count",
        "tasks.1.needs: must be a list: entr",
    ),
    (
        "{input}/table", "{input}/tabel", "tabel",
        "{input}/tabel is no input of task count; did you mean table? it has table",
    ),
    (
        "{output}/count.json", "{output}/counts.json", "counts.json",
        "{output}/counts.json is no output of task count; did you mean count.json? it has count.json; what is not",
    ),
    (
        "  type: object\n  additional", "  type: object\n  x-datasets-per-host: one\n  additional",
        "x-datasets-per-host: one", "is a whole number of 1 or more, and not 'one'",
    ),
    (
        "kind: dataset}", "kind: dataset, media_types: [csv]}", "media_types: [csv]",
        "tasks.0.inputs.0.media_types: 'csv' is no media type, as text/csv or application/dicom",
    ),
    (
        "persons: rows}", "persons: rows}\n          - {statistic: position, persons: rows, quantile: 0.5}",
        "quantile: 0.5", "is the name of a field of these objects, which holds it: add one to the schema",
    ),
    (
        "persons: rows}", "persons: rows}\n          - {statistic: histogram, persons: row}", "statistics: &counts",
        "statistics: histogram: there is no row in the schema; did you mean rows?",
    ),
    ("default: true", "default: true, x-columns: names", "x-columns", "x-columns: is name or formula, and not 'names'"),
    (
        "default: true", "default: true, x-column-types: [float]", "x-column-types",
        "x-column-types: is a list of integer, number, boolean, category, date, text, and not ['float']",
    ),
    ("default: true", "default: true, x-column-types: [date]", "x-column-types", "said of columns alone: add x-"),
]  # fmt: skip


@pytest.mark.parametrize(("before", "after", "place", "text"), CASES, ids=lambda value: value[:24])
def test_fault_is_told_with_its_line(folder: Path, before: str, after: str, place: str, text: str) -> None:
    told = said(folder, before, after)
    assert text in told
    first = next(line for line in told.splitlines() if text in line)
    assert first.startswith(f"{folder}/tool.yaml:{line_of(folder, place)}: "), first


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('    command: ["{python}", "{source}/count.py", count', '    comand: ["{python}", "{source}/count.py", count'),
        ("- {task: count, condition: exited}", "- {task: cuont, condition: exited}"),
        ("  name: Row count", "\tname: Row count"),
    ],
)
def test_one_mistake_is_told_once(folder: Path, before: str, after: str) -> None:
    assert len(said(folder, before, after).splitlines()) == 1


def test_program_that_is_no_python_is_told_with_its_line(folder: Path) -> None:
    program = folder / "count.py"
    program.write_text(program.read_text().replace("import json", "import json)", 1))
    line = line_of(folder, "{source}/count.py")
    with pytest.raises(InvalidInputError) as caught:
        load_tool(folder)
    assert caught.value.message == (
        f"{folder}/tool.yaml:{line}: tasks.0.command.1: count.py, line 3: this is no Python: unmatched ')'"
    )


def test_fault_of_a_value_that_stands_in_the_place_of_a_merged_one_is_told_with_its_own_line(folder: Path) -> None:
    told = said(folder, "version: 1.0.0", "<<: {version: 2.0.0}\nversion: one")
    assert told.startswith(f"{folder}/tool.yaml:{line_of(folder, 'version: one')}: version: "), told


@pytest.mark.parametrize(
    ("lock", "text"),
    [
        ("numpy==2.1.0\n", "requirements.lock, line 1: numpy==2.1.0 has no hash; pin each package with its hashes"),
        ("# x\nnumpy==2.1.0 \\\n    --hash=sha256:aa\nscipy\n", "requirements.lock, line 4: scipy has no hash"),
        ("-r other.txt\n", "requirements.lock, line 1: -r does not do in a lock file"),
        ("--no-binary :all:\n", "requirements.lock, line 1: --no-binary does not do in a lock file"),
        ("--only-binary :none:\n", "requirements.lock, line 1: --only-binary does not do in a lock file"),
        (
            "--index-url=https://x\n",
            "requirements.lock, line 1: --index-url does not do in a lock file; hosts take packages",
        ),
        (
            "--find-links /a\n",
            "line 1: --find-links does not do in a lock file; hosts take packages from where their site",
        ),
    ],
)
def test_lock_without_hashes_is_told(folder: Path, lock: str, text: str) -> None:
    (folder / "requirements.lock").write_text(lock)
    with pytest.raises(InvalidInputError) as caught:
        load_tool(folder)
    assert text in caught.value.message
    assert "tasks.0.runtime.requirements" in caught.value.message


@pytest.mark.parametrize("option", ["--only-binary :all:", "--only-binary=:all:", "--prefer-binary"])
def test_lock_of_several_lines_with_hashes_is_taken(folder: Path, option: str) -> None:
    lock = f"{option}\nnumpy==2.1.0 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb  # via us\n"
    (folder / "requirements.lock").write_text(lock)
    load_tool(folder)


@pytest.mark.parametrize("path", ["./count.py", "sub/../count.py", ".", ".//count.py"])
def test_file_is_found_however_its_path_is_written(folder: Path, path: str) -> None:
    text = (folder / "tool.yaml").read_text()
    (folder / "tool.yaml").write_text(text.replace("{source}/count.py", f"{{source}}/{path}", 1))
    load_tool(folder)


def test_path_that_leads_out_of_the_folder_is_told(folder: Path) -> None:
    assert "{source}/../tool/count.py is not in" in said(folder, "{source}/count.py", "{source}/../tool/count.py")


@pytest.mark.parametrize("key", ["$ref", "$dynamicRef"])
def test_reference_in_parameters_is_told_and_not_followed(folder: Path, key: str) -> None:
    """Whatever listens there would be asked by whoever checks the tool."""
    asked: list[object] = []
    with socket.create_server(("127.0.0.1", 0)) as listens:
        port = listens.getsockname()[1]
        threading.Thread(target=_hang_up, args=(listens, asked), daemon=True).start()
        told = said(folder, "default: true", f'default: true, anyOf: [{{{key}: "http://127.0.0.1:{port}/x"}}]')
    assert not asked
    assert f"tool.yaml:{line_of(folder, key)}: parameters.properties.header.anyOf.0.{key}: no part" in told


def _hang_up(listens: socket.socket, asked: list[object]) -> None:
    with suppress(OSError):
        connection, peer = listens.accept()
        asked.append(peer)
        connection.close()


def test_reference_inside_the_tool_is_told_too(folder: Path) -> None:
    told = said(folder, "default: true", "default: true, allOf: [{$ref: '#/$defs/x'}]")
    assert "write out what it refers to" in told


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted([*ROOT.glob("tool_catalog/*/tool.yaml"), EXAMPLE / "tool.yaml"]), ids=str)
def test_tools_that_are_here_are_right(path: Path) -> None:
    load_tool(path.parent)

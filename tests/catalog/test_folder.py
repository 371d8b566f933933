"""A tool's folder before it is published: whatever would fail at the first run is told with line and key."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from fedproc.catalog import load_tool
from fedproc.common.errors import InvalidInputError

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
]  # fmt: skip


@pytest.mark.parametrize(("before", "after", "place", "text"), CASES, ids=lambda value: value[:24])
def test_fault_is_told_with_its_line(folder: Path, before: str, after: str, place: str, text: str) -> None:
    told = said(folder, before, after)
    assert text in told
    first = next(line for line in told.splitlines() if text in line)
    assert first.startswith(f"{folder}/tool.yaml:{line_of(folder, place)}: "), first


@pytest.mark.parametrize(
    ("lock", "text"),
    [
        ("numpy==2.1.0\n", "requirements.lock, line 1: numpy==2.1.0 has no hash; pin each package with its hashes"),
        ("# x\nnumpy==2.1.0 \\\n    --hash=sha256:aa\nscipy\n", "requirements.lock, line 4: scipy has no hash"),
        ("-r other.txt\n", "requirements.lock, line 1: -r does not do in a lock file"),
    ],
)
def test_lock_without_hashes_is_told(folder: Path, lock: str, text: str) -> None:
    (folder / "requirements.lock").write_text(lock)
    with pytest.raises(InvalidInputError) as caught:
        load_tool(folder)
    assert text in caught.value.message
    assert "tasks.0.runtime.requirements" in caught.value.message


def test_lock_of_several_lines_with_hashes_is_taken(folder: Path) -> None:
    lock = "--only-binary :all:\nnumpy==2.1.0 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb  # via us\n"
    (folder / "requirements.lock").write_text(lock)
    load_tool(folder)


@pytest.mark.parametrize("path", sorted([*ROOT.glob("tool_catalog/*/tool.yaml"), EXAMPLE / "tool.yaml"]), ids=str)
def test_tools_that_are_here_are_right(path: Path) -> None:
    load_tool(path.parent)

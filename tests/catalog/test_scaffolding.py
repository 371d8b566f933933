"""The tool that a provider begins with."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedproc.catalog.folder import load_tool
from fedproc.catalog.scaffolding import EXAMPLE, write_scaffold
from fedproc.common.errors import ConflictError, InvalidInputError

SHOWN = Path(__file__).parents[2] / "docs/examples/row_count"


def test_scaffold_is_a_tool_of_that_name_which_has_no_fault(tmp_path: Path) -> None:
    folder = write_scaffold("my-tool", tmp_path / "tools")
    tool = load_tool(folder).tool
    assert (folder, tool.id, tool.biotools.name, tool.survey.name) == (
        tmp_path / "tools/my-tool", "my-tool", "My tool", "My tool",
    )  # fmt: skip
    assert (folder / "test/example_input/count/parameters.json").is_file()
    with pytest.raises(ConflictError, match="is there already"):
        write_scaffold("my-tool", tmp_path / "tools")


@pytest.mark.parametrize(("name", "told"), [("My Tool", "did you mean my-tool?"), ("../x", "small letters and digits")])
def test_name_that_is_no_id_is_told_with_the_nearest(tmp_path: Path, name: str, told: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        write_scaffold(name, tmp_path)
    assert told in caught.value.message
    assert list(tmp_path.iterdir()) == []


def test_scaffold_is_the_example_that_the_documents_show() -> None:
    assert SHOWN.samefile(EXAMPLE)

"""Modules that a tool imports and that nothing brings are told before its first run."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from fedproc.catalog.folder import load_tool
from fedproc.catalog.imports import unknown_imports

ROOT = Path(__file__).parents[2]
LOCKED = "".join(f"{name}==1.0 --hash=sha256:aa\n" for name in ("grpcio", "PyYAML", "python-dateutil", "scikit-image"))


@pytest.fixture
def tool(tmp_path: Path) -> Path:
    return Path(shutil.copytree(ROOT / "docs/examples/row_count", tmp_path / "row_count"))


def _told(tool: Path) -> list[str]:
    return unknown_imports(load_tool(tool), tool)


@pytest.mark.slow
def test_reader_of_tables_that_was_not_copied_is_told_with_its_line(tool: Path) -> None:
    program = tool / "count.py"
    program.write_text("import json\n\nfrom tables.frame import Dataset\nimport pandas as pd\nimport tables\n")
    assert _told(tool) == [
        "count.py, line 3: imports tables, which is neither in the folder nor in requirements.lock under that name",
        "count.py, line 4: imports pandas, which is neither in the folder nor in requirements.lock under that name",
    ]
    shutil.copytree(ROOT / "controllers/fedproc/tables", tool / "tables", ignore=shutil.ignore_patterns("*.pyc"))
    (tool / "requirements.lock").write_text("pandas==3.0 --hash=sha256:aa\nnumpy==2.0 --hash=sha256:aa\n")
    assert _told(tool) == []


@pytest.mark.parametrize(
    "line",
    ["import grpc", "import yaml", "import skimage.measure",
     "from dateutil import parser", "import os.path", "from . import x", "import count",
     "try:\n    import cupy\nexcept ImportError:\n    cupy = None", "not python", "import \0x"],
)  # fmt: skip
@pytest.mark.slow
def test_what_is_brought_or_cannot_be_told_is_not_told(tool: Path, line: str) -> None:
    (tool / "requirements.lock").write_text(LOCKED)
    (tool / "count.py").write_text(line + "\n")
    assert _told(tool) == []


UNUSED = tuple(
    f"source/{module}.py, "
    for module in ("regression/design", "regression/formula", "regression/persons", "regression/program",
                   "regression/rows", "regression/solving", "rounds/command", "rounds/evaluation", "rounds/figures",
                   "rounds/introducing", "rounds/newton", "rounds/request", "rounds/standard", "rounds/driving")
)  # fmt: skip
"""of rooms that tools share as a whole: the image tools of Substra and NVFLARE import none of them"""


@pytest.mark.slow
def test_catalogues_own_tools_import_nothing_unknown() -> None:
    folders = [path.parent for path in (ROOT / "tool_catalog").glob("*/tool.yaml")]
    told = {folder.name: [text for text in _told(folder) if not text.startswith(UNUSED)] for folder in folders}
    assert {name: found for name, found in told.items() if found} == {}

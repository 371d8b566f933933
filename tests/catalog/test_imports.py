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
     "try:\n    import cupy\nexcept ImportError:\n    cupy = None", "not python"],
)  # fmt: skip
@pytest.mark.slow
def test_what_is_brought_or_cannot_be_told_is_not_told(tool: Path, line: str) -> None:
    (tool / "requirements.lock").write_text(LOCKED)
    (tool / "count.py").write_text(line + "\n")
    assert _told(tool) == []


@pytest.mark.slow
def test_package_that_another_task_alone_brings_is_told(tool: Path) -> None:
    shutil.copyfile(tool / "count.py", tool / "add.py")
    (tool / "count.py").write_text("import pandas\n")
    (tool / "add.py").write_text("import matplotlib\n")
    (tool / "add.lock").write_text("matplotlib==3.0 --hash=sha256:aa\npandas==3.0 --hash=sha256:aa\n")
    before, count, after = (tool / "tool.yaml").read_text().partition("  - name: add")
    after = after.replace("requirements.lock", "add.lock").replace("{source}/count.py", "{source}/add.py")
    (tool / "tool.yaml").write_text(before + count + after)
    where = "which is neither in the folder nor in requirements.lock under that name"
    assert _told(tool) == [f"count.py, line 1: imports pandas, {where}"]
    (tool / "tool.yaml").write_text(before + count + after.replace("{source}/add.py", "{source}/count.py"))
    assert _told(tool) == []


@pytest.mark.slow
def test_of_a_program_that_lies_in_a_package_all_is_looked_into(tool: Path) -> None:
    """Who knows by which names it finds what lies beside it."""
    (tool / "shared").mkdir()
    (tool / "shared/__init__.py").write_text("")
    (tool / "count.py").rename(tool / "shared/count.py")
    (tool / "shared/beside.py").write_text("import formulaic\n")
    manifest = tool / "tool.yaml"
    manifest.write_text(manifest.read_text().replace("{source}/count.py", "{source}/shared/count.py"))
    assert [line for line in _told(tool) if "formulaic" in line] != []


@pytest.mark.slow
@pytest.mark.parametrize("line", ["from shared.used import x", "import shared.used", "from shared import used"])
def test_of_a_shared_package_only_what_is_imported_is_looked_into(tool: Path, line: str) -> None:
    (tool / "shared").mkdir()
    (tool / "shared/__init__.py").write_text("")
    (tool / "shared/used.py").write_text("from .below import y\n")
    (tool / "shared/below.py").write_text("import pandas\n")
    (tool / "shared/unused.py").write_text("import formulaic\n")
    (tool / "count.py").write_text(line + "\n")
    assert [told.partition(", which")[0] for told in _told(tool)] == ["shared/below.py, line 1: imports pandas"]


@pytest.mark.slow
def test_program_that_lies_in_a_package_hides_nothing(tool: Path) -> None:
    (tool / "__init__.py").write_text("")
    (tool / "beside.py").write_text("import formulaic\n")
    (tool / "count.py").write_text("import beside\n")
    assert [told.partition(", which")[0] for told in _told(tool)] == ["beside.py, line 1: imports formulaic"]


@pytest.mark.slow
def test_catalogues_own_tools_import_nothing_unknown() -> None:
    folders = [path.parent for path in (ROOT / "tool_catalog").glob("*/tool.yaml")]
    assert {folder.name: found for folder in folders if (found := _told(folder))} == {}

"""What of installed tools cannot be read any more is told, and keeps nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from fedproc.common.errors import UnreadableError
from fedproc.contract.tool.tool import ToolRef
from fedproc.site.tools.cache import InstalledTool, ToolCache

TOOL = ToolRef(id="km", version="1.0.0", digest="sha256:" + "a" * 64)


async def test_tool_whose_files_are_bytes_of_any_kind_is_not_ready_and_ends_nothing(tmp_path: Path) -> None:
    home = tmp_path / TOOL.digest.replace(":", "-")
    (home / "ready").mkdir(parents=True)
    (home / "manifest.jws").write_bytes(b"eyJ\xff\xfe")
    (home / "ready" / "local").write_bytes(b"\xff")
    cache = ToolCache(tmp_path, {}, cast(Any, None))
    assert cache.ready() == ()
    with pytest.raises(UnreadableError):
        await cache.get(TOOL, lambda _: None)
    cache.note_gone("venv-1")
    assert cache.note_ready(InstalledTool(cast(Any, None), home, TOOL.digest), "local", "venv-1")
    assert (home / "ready" / "local").read_text() == "venv-1"

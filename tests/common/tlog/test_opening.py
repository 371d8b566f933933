"""Opening a log that cannot be opened: not at once again."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedproc.common.tlog import opening
from fedproc.common.tlog.errors import LogError
from fedproc.common.tlog.opening import Opening


def test_failure_is_remembered_for_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tlog").write_text("a file is in its place")
    log = Opening(tmp_path / "tlog", "centre.test")
    with pytest.raises(LogError) as first:
        log.log()
    (tmp_path / "tlog").unlink()
    with pytest.raises(LogError) as second:
        log.log()
    assert second.value is first.value
    monkeypatch.setattr(opening.time, "monotonic", lambda: 1e12)
    assert log.log() is log.log()

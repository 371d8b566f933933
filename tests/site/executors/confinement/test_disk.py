"""Whose a job's folders are."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from fedproc.site.executors.confinement import disk


@pytest.mark.parametrize(
    ("uid", "gid", "expected"), [(998, None, (998, 997)), (10001, None, (10001, 10001)), (1000, 995, (1000, 995))]
)
def test_folder_of_a_job_has_its_users_group_not_his_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uid: int, gid: int | None, expected: tuple[int, int]
) -> None:
    """This process is user 998 of group 997, as Debian numbers an orchestrator's: it may give away neither."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "file").touch()
    given: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "geteuid", lambda: 998)
    monkeypatch.setattr(os, "getegid", lambda: 997)
    monkeypatch.setattr(os, "chown", lambda name, user, group, **_: given.append((user, group)))
    asyncio.run(disk.own(str(tmp_path), uid, gid))
    assert given == [expected] * 3

"""Orchestrators of different users share one folder of environments."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.support.tool_store import Venvs

pytestmark = [pytest.mark.process, pytest.mark.skipif(os.geteuid() != 0, reason="it becomes two other users")]

ONE, OTHER = 54_321, 54_322
DAY = 86_400.0


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """All may write there, and each removes what is its own alone, as in /tmp."""
    made = tmp_path / "environments"
    made.mkdir()
    made.chmod(0o1777)
    (tmp_path / "r.lock").touch()
    for path in (tmp_path, *tmp_path.parents):
        if path.stat().st_uid == os.geteuid() and path != Path("/"):
            path.chmod(path.stat().st_mode | 0o055)
    yield made


def as_user(uid: int, act: Callable[[], Awaitable[object]]) -> bool:
    """Do it in a process of that user; whether it gave something true, and raised nothing."""
    child = os.fork()
    if child == 0:
        try:
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            os._exit(0 if asyncio.run(cast(Any, act())) else 1)
        finally:
            os._exit(2)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) != 2, "it raised an error; see above"
    return os.waitstatus_to_exitcode(status) == 0


def use(folder: Path) -> Callable[[], Awaitable[object]]:
    venvs = Venvs(folder, Path("/usr/bin/python3"), shared=True)
    tool: Any = SimpleNamespace(source=folder.parent)
    task: Any = SimpleNamespace(name="local", runtime=SimpleNamespace(requirements="r.lock"))
    return lambda: venvs.ready(tool, task)


def discard(folder: Path) -> Callable[[], Awaitable[object]]:
    venvs = Venvs(folder, Path("/usr/bin/python3"), shared=True)
    return lambda: venvs.discard(venvs.stored()[0].name, time.time() - 40 * DAY)


def age(folder: Path) -> None:
    for path in folder.rglob("*"):
        os.utime(path, (time.time() - 50 * DAY,) * 2)


def test_environment_of_another_user_is_used_and_stays_while_it_is(folder: Path) -> None:
    assert as_user(ONE, use(folder))
    age(folder)
    assert as_user(OTHER, use(folder))
    assert not as_user(ONE, discard(folder)), "a job of the other user may run in it"
    age(folder)
    assert as_user(ONE, discard(folder))
    assert not list(folder.glob("*/complete"))


def test_environment_of_another_user_is_for_him_to_remove(folder: Path) -> None:
    assert as_user(ONE, use(folder))
    age(folder)
    assert not as_user(OTHER, discard(folder))
    assert list(folder.glob("*/complete"))


def test_what_another_user_left_half_built_is_in_nobodys_way(folder: Path) -> None:
    assert as_user(ONE, use(folder))
    (made,) = folder.glob("*/complete")
    (made.parent).rename(folder / f"{made.parent.name}.{ONE}.part")
    assert as_user(OTHER, use(folder))
    assert list(folder.glob("*/complete"))

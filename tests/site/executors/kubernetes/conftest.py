from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.support.kubernetes_api import fake_api
from tests.support.kubernetes_host import Host

from fedproc.site.executors.kubernetes import executor as executing
from fedproc.site.executors.kubernetes import follower as following
from fedproc.site.executors.kubernetes import pod_watch as watching


@pytest.fixture
async def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Host]:
    for module in (following, watching):
        monkeypatch.setattr(module, "_FIRST_PAUSE", 0.01)
        monkeypatch.setattr(module, "_LONGEST_PAUSE", 0.05)
    monkeypatch.setattr(executing, "_FIRST_PAUSE", 0.01)
    monkeypatch.setattr(executing, "_FIRST_LOOK", 0.01)
    monkeypatch.setattr(executing, "_LONGEST_LOOK", 0.05)
    monkeypatch.setattr(executing, "_PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr(executing, "_LATE_SECONDS", 0.1)
    async with fake_api() as api:
        made = Host(api, tmp_path)
        yield made
        await made.executor.close()

"""A controller that is away: its programs try for seconds before they say so."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from fedproc.site.executors.slurm.executor import SlurmExecutor
from fedproc.site.settings import SlurmSettings

pytestmark = pytest.mark.process
_SCONTROL = """#!/bin/sh
[ "$1" != ping ] || { echo "Slurmctld(primary) at cesga is DOWN"; exit 1; }
sleep 9
echo "slurm_load_ctl_conf error: Unable to contact slurm controller (connect failure)" >&2
exit 1
"""


async def test_who_asks_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "scontrol"
    program.write_text(_SCONTROL)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    async with asyncio.timeout(5):
        offer = await SlurmExecutor(tmp_path, SlurmSettings()).offer()
    assert offer.away
    assert "controller does not answer" in offer.obstacle
    assert "cesga is DOWN" in offer.obstacle

"""A host whose journal's disk is full or whose clock jumps: nothing false is said, and the host says what is wrong."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from tests.resilience.conftest import CLOCK_HOST
from tests.resilience.once import ended_once

from fedproc.contract.states import TERMINAL
from fedproc.demo.polling import wait_until


@contextmanager
def small_journal(running, host) -> Iterator[object]:
    """The host's journal on a file system of 4 MB, and no watch that would see in advance that it fills up."""
    settings = running.folder / f"host-{host}.toml"
    text = settings.read_text()
    settings.write_text(text.replace("disk_reserve_mb = 500", "disk_reserve_mb = 0"))
    folder, aside = running.folder / "hosts" / host / "journal", running.folder / "hosts" / host / "journal.aside"
    with running.without(f"orchestrator-{host}"):
        shutil.copytree(folder, aside)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], check=True)
        shutil.copytree(aside, folder, dirs_exist_ok=True)
    try:
        wait_until(running.works, 30, "the host does not start")
        yield folder
    finally:
        with running.without(f"orchestrator-{host}"):
            shutil.rmtree(aside)
            shutil.copytree(folder, aside)
            subprocess.run(["umount", str(folder)], check=True)
            shutil.copytree(aside, folder, dirs_exist_ok=True)
            settings.write_text(text)
        shutil.rmtree(aside)


def fill(folder) -> None:
    with (folder / "filler").open("wb", buffering=0) as target, pytest.raises(OSError, match="No space"):
        while True:
            target.write(b"\0" * 4096)


def test_the_journal_is_on_a_full_disk(running, tmp_path):
    with small_journal(running, "UB") as folder:
        under_way = running.start("tally", hosts=["UB"], seconds=3)
        running.wait_for(under_way, "work@UB", "running")
        fill(folder)
        waiting = running.start("tally", hosts=["UB"])
        wait_until(lambda: running.researcher.host("UB").condition == "holding", 30, "the host does not say it")
        assert "journal" in running.researcher.host("UB").condition_text
        for experiment in (under_way, waiting):
            assert running.jobs(experiment)["work@UB"].state not in TERMINAL
        (folder / "filler").unlink()
        wait_until(lambda: running.accepting("UB"), 30, "the host does not take jobs again")
        ended_once(running, under_way, tmp_path / "under_way")
        ended_once(running, waiting, tmp_path / "waiting")


@pytest.mark.parametrize("jump", ["+2h", "-2h", "+400d"])
def test_the_clock_jumps(running, tmp_path, jump):
    clock = running.folder / "clock"
    under_way = running.start("tally", hosts=[CLOCK_HOST], seconds=3)
    running.wait_for(under_way, f"work@{CLOCK_HOST}", "running")
    clock.write_text(jump)
    try:
        wait_until(lambda: running.researcher.host(CLOCK_HOST).condition == "holding", 40, "the host does not say it")
        assert "clock" in running.researcher.host(CLOCK_HOST).condition_text
        waiting = running.start("tally", hosts=[CLOCK_HOST])
        ended_once(running, under_way, tmp_path / "under_way")
        assert running.jobs(waiting)[f"work@{CLOCK_HOST}"].state not in TERMINAL
    finally:
        clock.write_text("+0")
    wait_until(lambda: running.accepting(CLOCK_HOST), 40, "the host does not take jobs again")
    ended_once(running, waiting, tmp_path / "waiting")

"""Control groups of version 2, on files that stand for the kernel's: what is written, and how it is read.

The kernel's own answers are tried by ``tests/site/executors`` on whatever version the machine has.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from fedproc.site.executors.confinement.cgroups import CGroup, CGroupError

FILES = ("memory.max", "memory.swap.max", "memory.oom.group", "cpu.max", "pids.max", "cgroup.kill", "cgroup.procs")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in FILES:
        (tmp_path / name).write_text("")
    return tmp_path


def group_at(folder: Path) -> CGroup:
    return CGroup({"": str(folder)})


def test_limits_are_written_where_version_2_has_them(folder: Path) -> None:
    group_at(folder).limit(cpus=1.5, memory=64_000_000, pids=16)
    assert {name: (folder / name).read_text() for name in FILES[:5]} == {
        "memory.max": "64000000",
        "memory.swap.max": "0",
        "memory.oom.group": "1",
        "cpu.max": "150000 100000",
        "pids.max": "16",
    }


def test_a_group_without_a_controller_says_which_to_enable(folder: Path) -> None:
    (folder / "pids.max").unlink()
    with pytest.raises(CGroupError, match="enable the controllers memory, cpu and pids"):
        group_at(folder).limit(cpus=1, memory=1, pids=1)


def test_swap_is_bounded_only_where_the_kernel_counts_it(folder: Path) -> None:
    (folder / "memory.swap.max").unlink()
    group_at(folder).limit(cpus=1, memory=1, pids=1)


def test_what_was_used_is_read(folder: Path) -> None:
    (folder / "cpu.stat").write_text("usage_usec 1500000\nuser_usec 1\n")
    (folder / "memory.peak").write_text("12345\n")
    (folder / "memory.events").write_text("low 0\noom 1\noom_kill 1\n")
    (folder / "pids.events").write_text("max 3\n")
    account = group_at(folder).account()
    assert (account.cpu_seconds, account.memory_peak) == (1.5, 12345)
    assert (account.out_of_memory, account.out_of_pids) == (True, True)


def test_an_older_kernel_counts_less(folder: Path) -> None:
    """``memory.peak`` came with Linux 5.19."""
    account = group_at(folder).account()
    assert (account.memory_peak, account.out_of_memory, account.out_of_pids) == (None, False, False)


def test_all_of_a_group_is_killed_in_one_step(folder: Path) -> None:
    group_at(folder).kill()
    assert (folder / "cgroup.kill").read_text() == "1"


def test_a_kernel_without_that_is_told_of_each_process(folder: Path) -> None:
    """``cgroup.kill`` came with Linux 5.14; an id that is gone by then is no fault."""
    (folder / "cgroup.kill").unlink()
    (folder / "cgroup.procs").write_text("4194305\n")
    group_at(folder).kill()

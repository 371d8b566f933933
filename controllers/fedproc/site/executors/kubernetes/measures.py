"""What a job uses, looked at from inside its container. Standard library only: it lies beside ``launch.py`` there."""

from __future__ import annotations

import contextlib
import json
import os

LONGEST_TEXT = 1200


def threads(process: str) -> int:
    try:
        return len(os.listdir(f"/proc/{process}/task"))
    except OSError:
        return 0  # it has ended


def removed_but_open(processes: list[str], device: int) -> int:
    """Bytes of files that no folder shows any more."""
    sizes = {}
    for process in processes:
        try:
            ends = os.listdir(f"/proc/{process}/fd")
        except OSError:
            continue  # it has ended
        for end in ends:
            with contextlib.suppress(OSError):
                found = os.stat(f"/proc/{process}/fd/{end}")
                if found.st_nlink == 0 and found.st_dev == device:
                    sizes[found.st_ino] = found.st_blocks * 512
    return sum(sizes.values())


def killed_for_memory() -> bool:
    """Whether the kernel killed a process of this container for want of memory (control groups of either version)."""
    for path in ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control"):
        for line in text_of(path).splitlines():
            name, _, value = line.partition(" ")
            if name == "oom_kill":
                return int(value) > 0
    return False


def memory_peak() -> int:
    for path in ("/sys/fs/cgroup/memory.peak", "/sys/fs/cgroup/memory/memory.max_usage_in_bytes"):
        if text_of(path).strip().isdigit():
            return int(text_of(path))
    return 0


def text_of(path: str) -> str:
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""


def megabytes(size: int) -> str:
    return f"{size / 1_000_000:.6g} MB"


def short(text: str) -> str:
    """So much of it that two take less room than a node keeps of all that is told (4096 bytes)."""
    while len(json.dumps(text)) > LONGEST_TEXT:
        text = text[: len(text) * 3 // 4]
    return text

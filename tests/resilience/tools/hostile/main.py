"""Misbehaves as it is told to: ``main.py BEHAVIOUR OUTPUT``."""

import ctypes
import os
import sys
import time
from pathlib import Path

CHUNK = b"\xff\xfe\x00\n" * (1 << 18)


def crash() -> None:
    ctypes.string_at(0)


def hang() -> None:
    import signal

    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(3600)


def write_10_gb() -> None:
    with Path("big").open("wb") as target:
        for _ in range(10_000):
            target.write(CHUNK)


def fork_without_end() -> None:
    while True:
        if os.fork() == 0:
            time.sleep(3600)


def print_binary() -> None:
    for _ in range(50):
        sys.stdout.buffer.write(CHUNK)


def write_outside() -> None:
    wrong = []
    for place in ("/etc/passwd", "/usr/bin/env", "/fedproc/source/main.py", "/fedproc/input/x", "/fedproc/../home/x"):
        try:
            Path(place).write_text("mine")
            wrong.append(place)
        except OSError:
            pass
    sys.exit(7 if wrong else 4)


def link_outside(output: Path) -> None:
    (output / "result.txt").unlink(missing_ok=True)
    (output / "result.txt").symlink_to("/etc/passwd")


def eat_memory() -> None:
    kept = []
    while True:
        kept.append(bytearray(1 << 24))


if __name__ == "__main__":
    behaviour, folder = sys.argv[1], Path(sys.argv[2])
    (folder / "result.txt").write_text("done")
    acts = {name: act for name, act in globals().items() if callable(act) and name == behaviour}
    act = acts[behaviour]
    act(folder) if behaviour == "link_outside" else act()

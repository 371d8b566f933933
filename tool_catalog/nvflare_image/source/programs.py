"""NVFLARE's own programs as processes of this task, in a group of their own that ends with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from flare_parts import job

SOURCE = Path(__file__).parent
ENDING_SECONDS = 10
LONGEST = 200
"""characters of a line that is told: NVFLARE's own lines can hold what the other end sent"""


@contextmanager
def running(
    module: str, workspace: Path, config: str, settings: Path, options: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """A daemon of NVFLARE over ``workspace``, with its output in a file there.

    It and its jobs' processes end with the block, and with this program where that is told to end.
    """
    variables = {
        **os.environ,
        job.SETTINGS: str(settings),
        "PYTHONPATH": str(SOURCE),
        "TMPDIR": str(workspace),
        "MALLOC_ARENA_MAX": "2",
    }
    given = [f"{name}={value}" for name, value in {"secure_train": "true", "org": "fedproc", **options}.items()]
    command = [sys.executable, "-u", "-m", module, "-m", str(workspace), "-s", config, "--set", *given]
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with (workspace / "program.txt").open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env=variables, cwd=workspace, start_new_session=True
        )
        try:
            yield process
        finally:
            _end(process)
            signal.signal(signal.SIGTERM, before)


def last_lines(workspace: Path, most: int = 5) -> list[str]:
    """Of what the program said, at most LONGEST printable characters each."""
    with (workspace / "program.txt").open("rb") as stream:
        stream.seek(max(0, stream.seek(0, os.SEEK_END) - most * 1000))
        lines = stream.read().decode("ascii", "replace").splitlines()[-most:]
    return [
        "".join(each if each.isascii() and each.isprintable() else "?" for each in line[:LONGEST]) for line in lines
    ]


def _end(process: subprocess.Popen[bytes]) -> None:
    for how in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, how)
            process.wait(ENDING_SECONDS)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue

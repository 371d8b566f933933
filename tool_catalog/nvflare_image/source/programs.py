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


@contextmanager
def running(
    module: str, workspace: Path, config: str, settings: Path, options: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """A daemon of NVFLARE over ``workspace``, with its output in a file there. Its jobs' processes end with it, too."""
    variables = {
        **os.environ,
        job.SETTINGS: str(settings),
        "PYTHONPATH": str(SOURCE),
        "TMPDIR": str(workspace),
        "MALLOC_ARENA_MAX": "2",
    }
    given = [f"{name}={value}" for name, value in {"secure_train": "true", "org": "fedproc", **options}.items()]
    command = [sys.executable, "-u", "-m", module, "-m", str(workspace), "-s", config, "--set", *given]
    with (workspace / "program.txt").open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env=variables, cwd=workspace, start_new_session=True
        )
        try:
            yield process
        finally:
            _end(process)


def last_lines(workspace: Path, most: int = 5) -> list[str]:
    """Of what the program said."""
    return (workspace / "program.txt").read_text(encoding="utf-8", errors="replace").splitlines()[-most:]


def _end(process: subprocess.Popen[bytes]) -> None:
    for how in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, how)
            process.wait(ENDING_SECONDS)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue

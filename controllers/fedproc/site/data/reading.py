"""``python -m fedproc.site.data.reading``: reads files as DICOM in a process of its own, whose memory has a limit.

It reads the path of a file as a line of JSON, and writes what it is as a line: ``{"instance": …, "problems": …}``, or
``{"error": [errno, text]}``. What a PACS sends is read so: a file may be made to take memory and minutes.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fedproc.common.tasks import StopFlag
from fedproc.site.data.dicom import Instance, Reading, read
from fedproc.site.data.index_process import limit_memory

_SECONDS = 60.0
"""for one file; pixels are not read"""
_CHECK_SECONDS = 0.2


class FileReader:
    """Reads files one after the other. The process begins with the first of them, and ends with :meth:`end`."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def read(self, path: Path, flag: StopFlag) -> Reading:
        """What the file is; one that takes too much cannot be read. Raises OSError, StoppedError."""
        try:
            line = self._asked(path, flag)
        except BaseException:
            self.end()
            raise
        if line is None:
            self.end()
            return Reading(problems=[("unreadable_dicom", "cannot be read as DICOM (it takes too long, or too much)")])
        found = json.loads(line)
        if "error" in found:
            raise OSError(*found["error"])
        instance = found["instance"] and Instance(**{**found["instance"], "refers": tuple(found["instance"]["refers"])})
        return Reading(instance or None, [(code, text) for code, text in found["problems"]])

    def _asked(self, path: Path, flag: StopFlag) -> bytes | None:
        """None where the process has ended, or does not answer in time."""
        flag.check()
        if self._process is not None and self._process.poll() is not None:
            self.end()
        process = self._process = self._process or _begun()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(str(path)).encode() + b"\n")
        process.stdin.flush()
        line, until = b"", time.monotonic() + _SECONDS
        while not line.endswith(b"\n"):
            flag.check()
            if time.monotonic() > until:
                return None
            if select.select([process.stdout], [], [], _CHECK_SECONDS)[0]:
                piece = os.read(process.stdout.fileno(), 1 << 16)
                if not piece:
                    return None
                line += piece
        return line

    def end(self) -> None:
        """The process ends."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()


def _begun() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "fedproc.site.data.reading"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )


def main() -> None:
    """Answer until there are no more lines."""
    limit_memory()
    for line in sys.stdin.buffer:
        sys.stdout.write(json.dumps(_answer(Path(json.loads(line)))) + "\n")
        sys.stdout.flush()


def _answer(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as content:
            found = read(content, os.fstat(content.fileno()).st_size)
    except OSError as error:
        return {"error": [error.errno, error.strerror]}
    return {"instance": found.instance and asdict(found.instance), "problems": found.problems}


if __name__ == "__main__":
    main()

"""Opening a log that several ask for: once, and after a failure not again at once."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from fedproc.common.tlog.errors import LogError
from fedproc.common.tlog.log import Log

PAUSE_SECONDS = 10.0
"""after a failure; to open a log may mean to read all of it"""


class Opening:
    """Of one log. Methods block, and may be called by any thread."""

    def __init__(self, folder: Path, origin: str) -> None:
        self._folder = folder
        self._origin = origin
        self._mutex = threading.Lock()
        self._log: Log | None = None
        self._failure: LogError | None = None
        self._again = 0.0

    def log(self) -> Log:
        """The log, opened. Raises :class:`LogError`: within the pause the one of before."""
        with self._mutex:
            if self._log is not None:
                return self._log
            if self._failure is not None and time.monotonic() < self._again:
                raise self._failure
            try:
                self._log = Log(self._folder, self._origin)
            except LogError as error:
                self._failure, self._again = error, time.monotonic() + PAUSE_SECONDS
                raise
            return self._log

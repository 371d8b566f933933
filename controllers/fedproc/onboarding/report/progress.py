"""One line on a terminal that says what is still being measured."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TextIO

from fedproc.onboarding.model.formatting import printable


class Progress:
    """Silent where ``stream`` is no terminal. Use as a context manager; the line is gone afterwards."""

    def __init__(self, total: int, stream: TextIO) -> None:
        self._total = total
        self._stream = stream
        self._shown = stream.isatty()
        self._done = 0
        self._start = time.monotonic()

    def __enter__(self) -> Progress:
        self._show("probes are running, at most 20 s")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._shown:
            self._stream.write("\r\x1b[K")
            self._stream.flush()

    def done(self, name: str) -> None:
        """One more probe has ended."""
        self._done += 1
        self._show(printable(name))

    def _show(self, what: str) -> None:
        if self._shown:
            seconds = time.monotonic() - self._start
            self._stream.write(f"\r\x1b[K{self._done}/{self._total} measured ({seconds:.0f} s): {what[:50]}")
            self._stream.flush()

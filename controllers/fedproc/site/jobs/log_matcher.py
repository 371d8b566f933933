"""Whether a line that a job printed matches its tool's regular expression.

An expression may take for ever on a line, and Python's holds the interpreter meanwhile: it is tried in a process of its
own with a time limit, and on what is new alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

from fedproc.common.errors import ToolFaultError

_SECONDS = 5.0
_PIECE = 1 << 20
_LINE = 1 << 16
"""bytes of a line that is not ended yet, which are looked at again with what comes"""
_FOUND, _NOT_FOUND = 10, 11
_PROGRAM = f"""
import re, sys
size = int(sys.argv[1])
expression = re.compile(sys.stdin.buffer.read(size))
found = any(expression.search(line) for line in sys.stdin.buffer.read().split(b"\\n"))
sys.exit({_FOUND} if found else {_NOT_FOUND})
"""


class LogMatcher:
    """Looks at one stream; ``read`` gives what is there from an offset on."""

    def __init__(self, pattern: str, read: Callable[..., AsyncIterator[bytes]], seconds: float = _SECONDS) -> None:
        self._pattern = pattern.encode(errors="backslashreplace")
        self._read: Callable[..., Any] = read
        self._seconds = seconds
        self._offset = 0
        self._line = b""

    async def matches(self) -> bool:
        """Whether a line of what is new matches. Raises :class:`ToolFaultError` if the expression cannot be tried."""
        new = await self._new()
        if not new:
            return False
        self._offset += len(new)
        text = self._line + new
        self._line = text[text.rfind(b"\n") + 1 :][-_LINE:]
        return await self._search(text)

    async def _new(self) -> bytes:
        new = b""
        async with aclosing(self._read(offset=self._offset)) as parts:
            async for part in parts:
                new += part
                if len(new) >= _PIECE:
                    break
        return new

    async def _search(self, text: bytes) -> bool:
        code = await self._tried(text)
        if code not in (_FOUND, _NOT_FOUND):
            raise self._error("is no regular expression")
        return code == _FOUND

    async def _tried(self, text: bytes) -> int | None:
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", "-c", _PROGRAM, str(len(self._pattern))),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            async with asyncio.timeout(self._seconds):
                await child.communicate(self._pattern + text)
        except TimeoutError:
            raise self._error(f"took longer than {self._seconds:g} s on what the task printed") from None
        finally:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            await child.wait()
        return child.returncode

    def _error(self, what: str) -> ToolFaultError:
        shown = self._pattern.decode()[:100]
        return ToolFaultError(f"its ready.log {what}: {shown}", code="tool_fault.not_ready")

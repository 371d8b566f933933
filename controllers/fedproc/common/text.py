"""Text that others wrote, as it can be sent, stored and shown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from difflib import get_close_matches

_UNSENDABLE = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""control characters but the tab, line separators, and halves of surrogate pairs, which stand for bytes of no text"""
_LINE_END = re.compile(rb"\r\n|\n|\r(?=[^\n])")
"""a CR at the end of what has come may be half of a CRLF"""


def escaped(text: str) -> str:
    r"""One line of text: what a terminal would obey, a database refuses or UTF-8 has not is written as ``\x1b``."""
    return _UNSENDABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def of_bytes(data: bytes) -> str:
    r"""The same of bytes that may be UTF-8: what is not, is written as ``\xfc``."""
    return escaped(data.decode("utf-8", "backslashreplace"))


def lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The lines of a stream of bytes, which end at CR, LF and CRLF, and nowhere else.

    ``str.splitlines`` and httpx's ``iter_lines`` also end them at U+0085 and U+2028, which JSON and log lines may hold.
    """
    rest = b""
    for chunk in chunks:
        *whole, rest = _LINE_END.split(rest + chunk)
        yield from whole
    if rest:
        yield rest.removesuffix(b"\r")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """``; did you mean UB?`` if something known is near ``name``, capitals or not; else nothing."""
    by_lower = {each.lower(): each for each in known}
    near = get_close_matches(name.lower(), by_lower, 1)
    return f"; did you mean {by_lower[near[0]]}?" if near else ""

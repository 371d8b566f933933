"""Text of others as a person sees it: nothing that no eye sees, and nothing that a terminal obeys."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import islice

from fedproc.common import text as texts

_MOST_NOTES = 20

_HIDDEN = re.compile(
    "[\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff\U000e0000-\U000e0fff]"
)
"""characters that no eye sees, or that turn the order of others round"""


def escaped(text: str) -> str:
    """One line as a person sees it: control characters, and those that are not seen, are written as ``\\u202e``."""
    return _HIDDEN.sub(lambda found: found[0].encode("unicode_escape").decode(), texts.escaped(text))


def of_bytes(data: bytes) -> str:
    """The same of bytes that may be UTF-8."""
    return escaped(data.decode("utf-8", "backslashreplace"))


def first_notes(notes: Iterable[str]) -> Iterator[str]:
    """As many as a person reads, and how many more there are."""
    rest = iter(notes)
    yield from islice(rest, _MOST_NOTES)
    if more := sum(1 for _ in rest):
        yield f"and {more} more of such parts"

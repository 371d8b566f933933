"""Text that others wrote, as it can be sent, stored and shown."""

from __future__ import annotations

import re

_UNSENDABLE = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""control characters but the tab, line separators, and halves of surrogate pairs, which stand for bytes of no text"""


def escaped(text: str) -> str:
    r"""One line of text: what a terminal would obey, a database refuses or UTF-8 has not is written as ``\x1b``."""
    return _UNSENDABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def of_bytes(data: bytes) -> str:
    r"""The same of bytes that may be UTF-8: what is not, is written as ``\xfc``."""
    return escaped(data.decode("utf-8", "backslashreplace"))

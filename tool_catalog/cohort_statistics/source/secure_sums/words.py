"""Words of the ring in which hosts mask: multiples of 2**-160 modulo 2**384, as text of one length.

The other end is ``fedproc.site.masking.ring`` of the host.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from fractions import Fraction
from typing import Any

from .faults import NoSumError

FORMAT = "fedproc-masked-1"
MARK = "masked:"
BYTES = 48
MODULUS = 1 << (8 * BYTES)
SCALE = 1 << 160


def is_word(value: Any) -> bool:
    """Whether it is a masked number."""
    return isinstance(value, str) and value.startswith(MARK)


def total(words: Iterable[str]) -> Fraction:
    """The sum of the numbers, exactly. Without one of the masks it is of no use. Raises NoSumError for a wrong word."""
    added = sum(map(_read, words)) % MODULUS
    return Fraction(added - MODULUS if added >= MODULUS // 2 else added, SCALE)


def _read(word: str) -> int:
    try:
        content = base64.b64decode(word.removeprefix(MARK), altchars=b"-_", validate=True)
    except ValueError as fault:
        raise NoSumError("a masked number is none") from fault
    if len(content) != BYTES:
        raise NoSumError("a masked number is none")
    return int.from_bytes(content, "big")

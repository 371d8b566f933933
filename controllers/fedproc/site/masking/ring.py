"""Numbers as words of a ring, in which sums are exact and a masked word is uniform.

A number is a multiple of 2**-160 modulo 2**384. Doubles of any size that occurs in a clinic are such multiples, or are
nearer to one than 1e-48. ``tool_catalog/library/secure_sums`` reads the words.
"""

from __future__ import annotations

import base64
from fractions import Fraction

FORMAT = "fedproc-masked-1"
MARK = "masked:"
BYTES = 48
MODULUS = 1 << (8 * BYTES)
SCALE = 1 << 160
LARGEST = 1 << 200
"""of one host's number: some thousands of hosts together stay within half of the ring"""


def to_word(number: Fraction) -> int:
    """The nearest word. Raises ValueError for a number that is too large."""
    if abs(number) > LARGEST:
        raise ValueError("a number is too large to be masked")
    return round(number * SCALE) % MODULUS


def as_text(word: int) -> str:
    """A word as it stands in JSON, all of one length."""
    return MARK + base64.urlsafe_b64encode(word.to_bytes(BYTES, "big")).decode()

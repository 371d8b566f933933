"""NumPy's npy (its format 1.0): a description of one array, and its elements."""

from __future__ import annotations

import re
from collections.abc import Callable

from fedproc.site.policy.engine.model_files.arrays import Source, elements_of

MAGIC = b"\x93NUMPY"
_START = 10
_MOST_SHOWN = 400
_DESCRIBED = re.compile(
    rb"\{'descr': '([<>|])([?biufcUS])(\d{1,6})', 'fortran_order': (?:True|False), "
    rb"'shape': \(((?:\d{1,15},|\d{1,15}(?:, \d{1,15})+)?)\), \}( *)\n"
)
_SIZES = {"b": (1,), "i": (1, 2, 4, 8), "u": (1, 2, 4, 8), "f": (2, 4, 8, 12, 16), "c": (8, 16, 24, 32)}
_MOST_BLANKS = 128
"""that NumPy fills up with, to a multiple of 64 bytes and with room for the first size to grow"""


def array_of(source: Source, size: int, note: Callable[[str], None]) -> tuple[str, str]:
    """Type and shape of the one array that the next ``size`` bytes are; what they are beside it is given to ``note``.

    Only its head is read.
    """
    head = source.read(min(size, _START))
    length = int.from_bytes(head[8:10], "little")
    described = source.read(min(length, max(0, size - len(head))))
    found = _DESCRIBED.fullmatch(described) if head[:8] == MAGIC + b"\x01\x00" else None
    bytes_of_all = _bytes(found) if found else None
    if found is None or bytes_of_all is None or len(described) != length:
        note("the description of its array is not as NumPy writes it: how many bytes are its numbers cannot be told")
        return "npy", described[:_MOST_SHOWN].decode("utf-8", "backslashreplace").strip()
    if (_START + length) % 16 or len(found[5]) > _MOST_BLANKS:
        note("the description of its array has other blanks after it than NumPy writes")
    if (beside := size - _START - length - bytes_of_all) != 0:
        note(f"{abs(beside)} bytes stand after its numbers, or are missing")
    return f"{found[1].decode()}{found[2].decode()}{found[3].decode()}", f"({found[4].decode()})"


def _bytes(found: re.Match[bytes]) -> int | None:
    """Of all elements; an array of Python's objects is a pickle, and not taken."""
    kind, width = found[2].decode(), found[3].decode()
    numbers = [each for each in found[4].decode().replace(" ", "").split(",") if each]
    if any(str(int(each)) != each for each in (width, *numbers)):
        return None
    elements = elements_of([int(each) for each in numbers])
    each = int(width) * (4 if kind == "U" else 1)
    if elements is None or (kind in _SIZES and int(width) not in _SIZES[kind]) or (not each and elements > 1):
        return None
    return elements * each

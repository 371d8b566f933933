"""NumPy's npy (its format 1.0): a description of one array, and its elements."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from fedproc.site.policy.engine.model_files.arrays import Arrays, Source, elements_of

MAGIC = b"\x93NUMPY"
_START = 10
_MOST_SHOWN = 400
_TEXTS = ("U", "S")
MOST_TEXTS = 512 << 10
"""bytes of an array of texts with its description"""
_DESCRIBED = re.compile(
    rb"\{'descr': '([<>|])([?biufcUS])(\d{1,6})', 'fortran_order': (?:True|False), "
    rb"'shape': \(((?:\d{1,15},|\d{1,15}(?:, \d{1,15})+)?)\), \}( *)\n"
)
_SIZES = {"b": (1,), "i": (1, 2, 4, 8), "u": (1, 2, 4, 8), "f": (2, 4, 8, 12, 16), "c": (8, 16, 24, 32)}
_MOST_BLANKS = 128
"""that NumPy fills up with, to a multiple of 64 bytes and with room for the first size to grow"""


def add_array(found: Arrays, source: Source, size: int, name: str = "") -> None:
    """The one array that the next ``size`` bytes are: its type and shape, its texts if it has some, and what they are
    beside it.

    Of numbers only the head is read.
    """

    def note(text: str) -> None:
        found.note(f"{name}: {text}" if name else text)

    kind, shape = _described(source, size, note)
    found.rows.append((name, kind, shape))
    if kind[1:2] not in _TEXTS or found.notes:
        return
    if size > MOST_TEXTS:
        note(f"its texts have more than {MOST_TEXTS >> 10} KiB: nobody looks at so many")
    else:
        found.texts.update(_texts(source.read(MOST_TEXTS), kind))


def _texts(raw: bytes, kind: str) -> Iterator[str]:
    """Each element without the zeros that fill it up; bytes that are no text are shown as what they are."""
    width = int(kind[2:]) * (4 if kind[1] == "U" else 1)
    encoding = {"<U": "utf-32-le", ">U": "utf-32-be"}.get(kind[:2], "utf-8")
    for start in range(0, len(raw) if width else 0, width or 1):
        yield raw[start : start + width].decode(encoding, "backslashreplace").rstrip("\0")


def _described(source: Source, size: int, note: Callable[[str], None]) -> tuple[str, str]:
    """Type and shape; what the bytes are beside it is given to ``note``."""
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

"""What no eye sees in a PNG (ISO/IEC 15948) or JPEG (ITU-T T.81): every byte that is not of the picture is told.

Bytes that code pixels are not decoded, but for those of a PNG, which are inflated and counted.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Iterator

from fedproc.cli.site.escaping import of_bytes

MOST_BYTES = 64 << 20
"""of a picture that is looked through, and shown"""
_MOST_PIXEL_BYTES = 1 << 30
_MOST_PARTS = 100_000
_AT_ONCE = 1 << 20
_PNG_HEAD = 8
_IHDR = struct.Struct(">IIBBBBB")
_LONGEST = {
    b"IHDR": 13, b"PLTE": 768, b"IEND": 0, b"tRNS": 256, b"gAMA": 4, b"sRGB": 1, b"pHYs": 9, b"cHRM": 32, b"bKGD": 6,
    b"sBIT": 4,
}  # fmt: skip
"""chunks of the picture itself, each of which stands once, and their bytes"""
_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
_NEXT_MARK = re.compile(rb"\xff+[^\x00\xd0-\xd7\xff]")
_MOST_TABLES = 8
_FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})


def hidden_in(content: bytes, kind: str) -> Iterator[str]:
    """One text about each part that is no picture."""
    return _in_png(content) if kind == "png" else _in_jpeg(content)


def _told(what: str, content: bytes) -> str:
    return f"it holds {len(content)} bytes that are no picture ({what}): {of_bytes(content[:200])}"


def _rest(content: bytes, here: int) -> str:
    inside = content[here : here + 200]
    return f"{max(0, len(content) - here)} bytes{f' ({of_bytes(inside)})' if inside else ''}"


# -- PNG -------------------------------------------------------------------------------------------------


def _in_png(content: bytes) -> Iterator[str]:
    here, parts, seen, pixels, ended = _PNG_HEAD, 0, dict[bytes, bytes](), bytearray(), False
    while here + 12 <= len(content) and not ended and parts < _MOST_PARTS:
        length, name = struct.unpack(">I4s", content[here : here + 8])
        inside, end = content[here + 8 : here + 8 + length], here + 12 + length
        if end > len(content):
            break
        if zlib.crc32(name + inside) != int.from_bytes(content[end - 4 : end], "big"):
            yield f"the checksum of its chunk {of_bytes(name)} is another one: {content[end - 4 : end].hex()}"
        if name == b"IDAT":
            pixels += inside
        elif length > _LONGEST.get(name, -1) or name in seen or (name == b"PLTE" and not _has_palette(seen)):
            yield _told(f"chunk {of_bytes(name)}", inside)
        else:
            seen[name] = inside
        here, parts, ended = end, parts + 1, name == b"IEND"
    yield from _in_pixels(seen.get(b"IHDR", b""), bytes(pixels))
    if here != len(content) or not ended:
        yield f"{_rest(content, here)} stand after the picture's end{'' if ended else ', which it lacks'}"


def _has_palette(seen: dict[bytes, bytes]) -> bool:
    return seen.get(b"IHDR", b"")[9:10] == b"\x03"


def _in_pixels(head: bytes, packed: bytes) -> Iterator[str]:
    wanted = _pixel_bytes(head)
    if wanted is None or wanted > _MOST_PIXEL_BYTES:
        yield "its size is none, or too large to be looked through"
        return
    stream, found, rest = zlib.decompressobj(), 0, packed
    try:
        while rest and not stream.eof and found <= wanted:
            found += len(stream.decompress(rest, _AT_ONCE))
            rest = stream.unconsumed_tail
    except zlib.error as error:
        yield f"its pixels cannot be unpacked: {error}"
        return
    if found != wanted or not stream.eof:
        yield f"it has {'more' if found > wanted else 'less'} bytes of pixels than its size says"
    if stream.unused_data:
        yield _told("after its last pixel", stream.unused_data)


def _pixel_bytes(head: bytes) -> int | None:
    """Of all rows, each with its byte of the filter; None if there is no such picture."""
    if len(head) != _IHDR.size:
        return None
    width, height, depth, colour, _, _, interlaced = map(int, _IHDR.unpack(head))
    if colour not in _SAMPLES or interlaced > 1:
        return None
    bits, passes = depth * _SAMPLES[colour], _ADAM7 if interlaced else ((0, 0, 1, 1),)
    sizes = [(-((x - width) // by), -((y - height) // down)) for x, y, by, down in passes]
    return sum(rows * (1 + (columns * bits + 7) // 8) for columns, rows in sizes if columns > 0 and rows > 0)


# -- JPEG ------------------------------------------------------------------------------------------------


def _in_jpeg(content: bytes) -> Iterator[str]:
    here, pixels, scanned = 2, 0, 0
    for _ in range(_MOST_PARTS):
        start = here
        while content[here : here + 2] == b"\xff\xff":
            here += 1
        if here > start:
            yield f"{here - start} bytes before one of its marks say nothing"
        mark, inside = content[here + 1 : here + 2], content[here + 4 : here + 2 + _length(content, here)]
        if content[here : here + 1] != b"\xff" or mark in (b"", b"\xd9"):
            break
        yield from _in_segment(mark[0], inside)
        if mark[0] in _FRAMES and len(inside) >= 6:
            pixels = int.from_bytes(inside[1:3], "big") * int.from_bytes(inside[3:5], "big") * inside[5]
        here += 2 + _length(content, here)
        if mark == b"\xda":
            found = _NEXT_MARK.search(content, here)
            end = found.start() if found else len(content)
            scanned, here = scanned + end - here, end
    if content[here : here + 2] != b"\xff\xd9":
        yield f"{_rest(content, here)} are no picture, and it has no end"
    elif here + 2 != len(content):
        yield f"{_rest(content, here + 2)} stand after the picture's end"
    if scanned > 2 * pixels + 1024:
        yield f"its {scanned} bytes of pixels are more than so many pixels take: what is in them cannot be told"


def _length(content: bytes, here: int) -> int:
    return max(2, int.from_bytes(content[here + 2 : here + 4], "big"))


def _in_segment(mark: int, inside: bytes) -> Iterator[str]:
    plain = (
        (mark == 0xE0 and inside.startswith(b"JFIF\0") and len(inside) == 14 and inside.endswith(b"\0\0"))
        or (mark == 0xDB and _are_tables(inside, lambda at: 65 + 64 * (inside[at] >> 4 & 1)))
        or (mark == 0xC4 and _are_tables(inside, lambda at: 17 + sum(inside[at + 1 : at + 17])))
        or (mark == 0xDD and len(inside) == 2)
        or (mark in _FRAMES and len(inside) >= 6 and len(inside) == 6 + 3 * inside[5])
        or (mark == 0xDA and len(inside) >= 1 and len(inside) == 4 + 2 * inside[0])
    )
    if not plain:
        yield _told(f"segment {mark:02x}", inside)


def _are_tables(inside: bytes, size_at: Callable[[int], int]) -> bool:
    here, count = 0, 0
    while here < len(inside):
        here, count = here + size_at(here), count + 1
    return here == len(inside) and 0 < count <= _MOST_TABLES

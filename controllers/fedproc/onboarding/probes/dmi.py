"""The machine's memory board from SMBIOS, which firmware leaves in memory (DMTF DSP0134, structure type 16)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TABLE = Path("/sys/firmware/dmi/tables/DMI")
MEMORY_ARRAY = 16
SYSTEM_MEMORY = 3
CORRECTING = (5, 6)  # single-bit and multi-bit ECC
NOT_CORRECTING = (3, 4, 7)  # none, parity, CRC


@dataclass(frozen=True)
class Board:
    slots: int | None
    ecc: bool | None
    reason: str


def board(table: Path = TABLE) -> Board:
    """Slots and error correction of the system memory; ``reason`` says why something is ``None``."""
    try:
        raw = table.read_bytes()
    except PermissionError:
        return Board(None, None, "only root may read the firmware's tables")
    except OSError:
        return Board(None, None, "the firmware's tables (SMBIOS) are not there, as in many virtual machines")
    return _summary([body for kind, body in structures(raw) if kind == MEMORY_ARRAY and len(body) >= 15])


def structures(raw: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and formatted part of each structure; stops at the first that is cut off."""
    at = 0
    while at + 4 <= len(raw):
        kind, length = raw[at], raw[at + 1]
        strings_end = raw.find(b"\0\0", at + length)
        if length < 4 or strings_end < 0:
            return
        yield kind, raw[at : at + length]
        at = strings_end + 2


def _summary(arrays: list[bytes]) -> Board:
    arrays = [a for a in arrays if a[5] == SYSTEM_MEMORY]
    if not arrays:
        return Board(None, None, "the firmware does not describe the memory board")
    slots = sum(struct.unpack_from("<H", a, 13)[0] for a in arrays)
    corrections = {a[6] for a in arrays}
    if corrections <= {*CORRECTING, *NOT_CORRECTING}:
        return Board(slots, corrections <= set(CORRECTING), "")
    return Board(slots, None, "the firmware does not say whether the memory corrects errors")

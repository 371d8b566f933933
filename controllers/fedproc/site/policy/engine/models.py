"""Files of trained models that hold numbers alone: safetensors, and NumPy's npy and npz without objects."""

from __future__ import annotations

import json
import struct
import zipfile
from pathlib import Path

_LONGEST_HEAD = 8 << 20
_NPY = b"\x93NUMPY"
_MOST_ARRAYS = 10_000


def is_plain_model(path: Path) -> bool:
    """Whether it is one of these; ONNX has no mark of its own and is not told here. Raises :class:`OSError`."""
    with path.open("rb") as source:
        head = source.read(16)
    if head.startswith(_NPY):
        with path.open("rb") as source:
            return _is_plain_array(source.read(_LONGEST_HEAD))
    if head.startswith(b"PK\x03\x04"):
        return _is_npz(path)
    return _is_safetensors(path, head)


def _is_npz(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            return 0 < len(entries) <= _MOST_ARRAYS and all(_is_npy(archive, entry) for entry in entries)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError, EOFError):
        return False


def _is_npy(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bool:
    if not entry.filename.endswith(".npy") or "/" in entry.filename:
        return False
    with archive.open(entry) as source:
        return _is_plain_array(source.read(1 << 16))


def _is_plain_array(head: bytes) -> bool:
    """By the description in its head: an array of Python's objects is a pickle."""
    if not head.startswith(_NPY) or len(head) < 12:
        return False
    size = int.from_bytes(head[8:10] if head[6] == 1 else head[8:12], "little")
    described = head[10 if head[6] == 1 else 12 :][:size]
    return b"'descr'" in described and b"O" not in described.split(b"'shape'")[0].split(b"'fortran_order'")[0]


def _is_safetensors(path: Path, head: bytes) -> bool:
    """Eight bytes of length, a head in JSON that names each tensor, and the tensors."""
    size = struct.unpack("<Q", head[:8])[0] if len(head) >= 8 else 0
    if not 2 <= size <= _LONGEST_HEAD:
        return False
    with path.open("rb") as source:
        described = source.read(8 + size)[8:]
    try:
        tensors = json.loads(described)
    except (ValueError, RecursionError):
        return False
    return isinstance(tensors, dict) and all(_is_tensor(name, each) for name, each in tensors.items())


def _is_tensor(name: str, described: object) -> bool:
    if name == "__metadata__":
        return described in ({}, {"format": "pt"}, {"format": "np"})
    return isinstance(described, dict) and described.keys() == {"dtype", "shape", "data_offsets"}

"""safetensors: eight bytes of length, a head in JSON that names each tensor, and the tensors (Hugging Face)."""

from __future__ import annotations

import json
import struct
from collections import Counter
from typing import Any

from fedproc.site.policy.engine.model_files.arrays import MOST_ARRAYS, Arrays, Source, elements_of, is_name

_LONGEST_HEAD = 8 << 20
_METADATA = "__metadata__"
_USUAL: tuple[dict[str, str], ...] = ({}, *({"format": each} for each in ("pt", "np", "tf", "flax", "mlx", "paddle")))
_BITS = {
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 64), **dict.fromkeys(("F32", "I32", "U32"), 32),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 16),
    **dict.fromkeys(("F8_E4M3", "F8_E5M2", "F8_E8M0", "I8", "U8", "BOOL"), 8),
}  # fmt: skip
_ALIGNED = 8


def arrays_of_safetensors(source: Source, size: int) -> Arrays | None:
    """None if it is none."""
    source.seek(0)
    head = source.read(8)
    length = struct.unpack("<Q", head)[0] if len(head) == 8 else 0
    if not 2 <= length <= min(_LONGEST_HEAD, size - 8):
        return None
    found, twice = Arrays(), list[str]()
    raw = source.read(length)
    try:
        tensors = json.loads(raw, object_pairs_hook=lambda pairs: _once(pairs, twice))
    except (ValueError, RecursionError):
        return None
    if not isinstance(tensors, dict) or not all(isinstance(each, dict) for each in tensors.values()):
        return None
    _look_into(tensors, size - 8 - length, found)
    found.notes += [f"the key {name} stands twice in its head" for name in twice]
    if not twice and not _is_laid_out(raw, tensors):
        found.note("its head has blanks or escapes that no library writes")
    return found


def _once(pairs: list[tuple[str, Any]], twice: list[str]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice += [name for name, count in Counter(name for name, _ in pairs).items() if count > 1]
    return found


def _is_laid_out(raw: bytes, head: dict[str, Any]) -> bool:
    """On one line, with blanks after it up to a multiple of eight bytes."""
    bare = raw.rstrip(b" ")
    if len(raw) - len(bare) >= _ALIGNED or (len(raw) != len(bare) and len(raw) % _ALIGNED):
        return False
    ways = [json.dumps(head, separators=separators) for separators in ((",", ":"), (", ", ": "))]
    return bare in [way.encode() for way in ways]


def _look_into(head: dict[str, Any], size: int, found: Arrays) -> None:
    if len(head) > MOST_ARRAYS:
        found.note(f"it names more than {MOST_ARRAYS} arrays")
    for name, each in head.items():
        if name != _METADATA:
            found.rows.append((name, str(each.get("dtype")), str(each.get("shape"))))
            continue
        found.rows += [(f"{_METADATA} {key}", "text", str(value)) for key, value in each.items()]
        if each not in _USUAL:
            found.note(f"it holds texts beside its arrays ({_METADATA})")
    here = 0
    tensors = [(_offsets(each), name, each) for name, each in head.items() if name != _METADATA]
    for (start, end), name, each in sorted(tensors, key=lambda entry: entry[0]):
        if start != here:
            found.note(f"{abs(start - here)} bytes before {name} are of no array, or of two")
        _check_tensor(name, each, end - start, found)
        here = end
    if here != size:
        found.note(f"{abs(size - here)} bytes stand after its arrays, or are missing")


def _offsets(tensor: dict[str, Any]) -> tuple[int, int]:
    given = tensor.get("data_offsets")
    is_pair = isinstance(given, list) and len(given) == 2 and all(type(each) is int for each in given)
    return (given[0], given[1]) if is_pair and 0 <= given[0] <= given[1] else (-1, -1)  # type: ignore[index]


def _check_tensor(name: str, tensor: dict[str, Any], size: int, found: Arrays) -> None:
    if not is_name(name):
        found.note(f"{name} has other signs in its name than letters, digits, _ . : / and -")
    if other := tensor.keys() - {"dtype", "shape", "data_offsets"}:
        more = str({key: tensor[key] for key in other})[:200]
        found.note(f"{name} has more in its description: {more}")
    dtype = tensor.get("dtype")
    elements, bits = elements_of(tensor.get("shape")), _BITS.get(dtype) if isinstance(dtype, str) else None
    if elements is None or bits is None or bits * elements != 8 * size:
        found.note(f"{name} has another number of bytes than its type and shape say")

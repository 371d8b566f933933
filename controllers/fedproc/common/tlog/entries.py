"""Entries of a log: one line of canonical JSON each, which names the hash of the one before it."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fedproc.common.tlog.merkle import leaf_hash

LONGEST_LINE = 1 << 20
"""bytes"""
_FIELDS = frozenset({"at", "data", "kind", "n", "prev"})
_HASH = re.compile("[0-9a-f]{64}", re.ASCII)


class EntryError(ValueError):
    """A line is no entry, or not the one that comes next; the text says which."""


@dataclass(frozen=True)
class Entry:
    """``number`` counts from 0; ``at`` is ISO 8601 in UTC; ``previous`` is the leaf hash of the line before, as hex."""

    number: int
    at: str
    kind: str
    data: Mapping[str, Any]
    previous: str

    @property
    def line(self) -> bytes:
        """The entry as it stands in the file, without its line end."""
        return canonical({"at": self.at, "data": self.data, "kind": self.kind, "n": self.number, "prev": self.previous})


def canonical(value: Any) -> bytes:
    """JSON with sorted keys and no white space, UTF-8 (RFC 8785, for texts, whole numbers and short fractions)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode(errors="backslashreplace")  # halves of surrogate pairs, as JSON writes them


def beginning(origin: str) -> str:
    """What the first entry names: the hash of the log's origin, so that it belongs to no other log."""
    return hashlib.sha256(origin.encode()).hexdigest()


def link(line: bytes) -> str:
    """What the entry after this line names."""
    return leaf_hash(line).hex()


def moment_text(moment: datetime) -> str:
    """As entries have it: ``2026-11-29T13:21:03.120Z``."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def parse(line: bytes) -> Entry:
    """The entry of one line, without its line end. Raises :class:`EntryError`."""
    if len(line) > LONGEST_LINE:
        raise EntryError(f"it has {len(line)} bytes, more than any entry")
    try:
        found = json.loads(line, parse_constant=_no_number, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise EntryError("it is no JSON") from error
    if not isinstance(found, dict) or found.keys() != _FIELDS or not _has_types(found):
        raise EntryError("it has not the fields of an entry")
    entry = Entry(found["n"], found["at"], found["kind"], found["data"], found["prev"])
    if entry.line != line:
        raise EntryError("it is not written as entries are")
    return entry


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number of JSON")


def _finite(text: str) -> float:
    return found if math.isfinite(found := float(text)) else _no_number(text)


def _has_types(found: dict[str, Any]) -> bool:
    texts = all(isinstance(found[name], str) for name in ("at", "kind", "prev"))
    return (
        texts and type(found["n"]) is int and isinstance(found["data"], dict) and bool(_HASH.fullmatch(found["prev"]))
    )


def following(line: bytes, number: int, previous: str) -> Entry:
    """The entry of a line that is to be no. ``number`` after ``previous``. Raises :class:`EntryError`."""
    entry = parse(line)
    if entry.number != number:
        raise EntryError(f"it is entry {entry.number}; entry {number} is missing here, or in another place")
    if entry.previous != previous:
        raise EntryError(f"it does not follow from the line before it: that one, or entry {number}, was changed")
    return entry

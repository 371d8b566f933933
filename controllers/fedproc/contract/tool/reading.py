"""What kind of dataset an input reads, by its ``media_types``, held against what a dataset holds, and how many. Pure.

An input that says none, or one that is not known here, may read whatever there is; so does every manifest of before.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Literal

Kind = Literal["images", "tables"]

KINDS: dict[str, Kind] = {
    "application/dicom": "images",
    "text/csv": "tables",
    "text/tab-separated-values": "tables",
}
"""by media type; ``images`` are DICOM, as hosts look for these alone"""
MOST_AT_HOST = "x-datasets-per-host"
"""keyword of a tool's parameters: how many datasets one job takes; releases that do not know it pass over it"""
WORDS: dict[Kind, str] = {"images": "DICOM images", "tables": "tables"}


def kinds_read(media_types: Iterable[str]) -> frozenset[Kind] | None:
    """The kinds of which an input reads one or more; None: it may read any."""
    found = {KINDS.get(each.lower()) for each in media_types}
    return frozenset(kind for kind in found if kind is not None) if found and None not in found else None


def most_at_host(parameters: Mapping[str, Any]) -> int | None:
    """How many datasets of one host a tool takes, by its schema of parameters; None: any number, as it says nothing."""
    most = parameters.get(MOST_AT_HOST)
    return most if isinstance(most, int) and not isinstance(most, bool) and most > 0 else None


def fits(held: Collection[str] | None, read: frozenset[Kind] | None) -> bool:
    """Whether a dataset that holds these kinds may have what is read; None: it is not known what it holds.

    Files of no known kind may be tables of their own format, and are never images: those a host would have found.
    """
    if held is None or read is None or not read.isdisjoint(held):
        return True
    return "tables" in read and not set(held) <= WORDS.keys()


def words_read(read: Collection[Kind]) -> str:
    """``DICOM images``, ``DICOM images or tables``."""
    return " or ".join(WORDS[kind] for kind in sorted(read))


def words_held(held: Collection[str]) -> str:
    """``tables and no DICOM images``; ``files of other kinds alone``."""
    there = [word for kind, word in WORDS.items() if kind in held]
    missing = [word for kind, word in WORDS.items() if kind not in held]
    if not there:
        return "files of other kinds alone"
    return " and ".join(there) + (f" and no {missing[0]}" if missing else "")

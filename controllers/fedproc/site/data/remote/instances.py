"""A JSON list of instances taken apart one by one: what is held at a time is bounded, however many there are."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from fedproc.site.data.remote.errors import RemoteError

MOST_INSTANCES = 20_000
"""of one series"""
_LARGEST = 8 << 20
_MOST_NESTED = 200_000
"""bytes of one instance, and lists and objects in it: each takes many times its bytes in memory"""
_DEEPEST = 100
_CHECK_EVERY = 10_000
_MARKS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+\\?(?:"|\Z)|[{}\[\]]', re.DOTALL)
"""it matches a text that has no end, too: the rest is looked at once only"""


def instances(
    content: bytes, path: str, check: Callable[[], None], most: int = MOST_INSTANCES
) -> Iterator[dict[str, Any]]:
    """The objects of the list in ``content``, ``most`` of them. ``check`` is called now and then, and may raise.

    Raises :class:`RemoteError` for what is no list of DICOM JSON, or has more than is held.
    """
    content, end = content.removeprefix(codecs.BOM_UTF8), 0
    for count, (begin, end) in enumerate(_spans(content, path, check), 1):
        check()
        if count > most:
            raise RemoteError(f"{path}: it lists more than {most:,}")
        try:
            yield json.loads(content[begin:end])
        except (ValueError, RecursionError) as error:
            raise RemoteError(f"{path}: it answers with what is no JSON") from error
    if b"".join(content[end:].split()) != (b"]" if end else b"[]"):
        raise RemoteError(f"{path}: it answers with what is no list of DICOM JSON")


def _spans(content: bytes, path: str, check: Callable[[], None]) -> Iterator[tuple[int, int]]:
    """Where each object of the list begins and ends."""
    depth = nested = begin = last = 0
    for number, mark in enumerate(_MARKS.finditer(content)):
        if number % _CHECK_EVERY == 0:
            check()
        kind = mark[0][:1]
        if kind in b"{[":
            depth, nested = depth + 1, nested + 1
            if depth == 2:
                if content[last : mark.start()].strip() not in ({b"["} if last == 0 else {b","}) or kind != b"{":
                    raise RemoteError(f"{path}: it answers with what is no list of DICOM JSON")
                begin, nested = mark.start(), 0
            if depth > _DEEPEST or nested > _MOST_NESTED or mark.start() - begin > _LARGEST:
                raise RemoteError(f"{path}: it describes an instance with more than is read")
        elif kind in b"}]":
            depth -= 1
            if depth == 1:
                last = mark.end()
                if last - begin > _LARGEST:
                    raise RemoteError(f"{path}: it describes an instance with more than is read")
                yield begin, last

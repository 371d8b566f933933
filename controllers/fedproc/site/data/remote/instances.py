"""A JSON list of instances taken apart one by one: what is held at a time is bounded, however many there are."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from fedproc.site.data.remote.errors import RemoteError

MOST_INSTANCES = 20_000
"""of one series"""
_LARGEST = 8 << 20
_MOST_NESTED = 200_000
"""bytes of one instance, and lists and objects in it: each takes many times its bytes in memory"""
_DEEPEST = 100
_CHECK_EVERY = 10_000
_PIECE = 256 << 10
_MARKS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+\\?(?:(")|\Z)|[{}\[\]]', re.DOTALL)
"""it matches a text that has no end, too, without its group: the rest is looked at once only"""


def instances(
    content: BinaryIO, path: str, check: Callable[[], None], most: int = MOST_INSTANCES
) -> Iterator[dict[str, Any]]:
    """The objects of the list in ``content``, ``most`` of them. ``check`` is called now and then, and may raise.

    Raises :class:`RemoteError` for what is no list of DICOM JSON, or has more than is held.
    """
    for count, text in enumerate(_Objects(content, path, check), 1):
        check()
        if count > most:
            raise RemoteError(f"{path}: it lists more than {most:,}")
        try:
            yield json.loads(text)
        except (ValueError, RecursionError) as error:
            raise RemoteError(f"{path}: it answers with what is no JSON") from error


class _Objects:
    """The bytes of each object of a list. No more is held than one of them, and what was read with its end."""

    def __init__(self, content: BinaryIO, path: str, check: Callable[[], None]) -> None:
        self._content = content
        self._path = path
        self._check = check
        self._held = b""
        self._begin = 0
        """of the object that is being read, or of what stands between two"""
        self._marks = self._depth = self._nested = self._count = 0

    def __iter__(self) -> Iterator[bytes]:
        self._held = self._content.read(_PIECE).removeprefix(codecs.BOM_UTF8)
        scanned, ended = 0, not self._held
        while True:
            for mark in _MARKS.finditer(self._held, scanned):
                if mark[0][:1] == b'"' and mark[1] is None and not ended:
                    scanned = mark.start()
                    break
                scanned = mark.end()
                if self._takes(mark):
                    yield self._held[self._begin : scanned]
                    self._begin, self._count = scanned, self._count + 1
            else:
                scanned = len(self._held)
            if ended:
                return self._check_end()
            self._held, scanned = self._held[self._begin :], scanned - self._begin
            self._begin = 0
            if len(self._held) > _LARGEST:
                raise self._too_much()
            piece = self._content.read(max(_PIECE, len(self._held)))  # a text without an end is looked at few times
            self._held += piece
            ended = not piece

    def _takes(self, mark: re.Match[bytes]) -> bool:
        """Whether an object ends with the mark."""
        self._marks += 1
        if self._marks % _CHECK_EVERY == 0:
            self._check()
        kind = mark[0][:1]
        if kind in b"{[":
            self._opens(mark, kind)
        elif kind in b"}]":
            self._depth -= 1
            if self._depth == 1:
                if mark.end() - self._begin > _LARGEST:
                    raise self._too_much()
                return True
        return False

    def _opens(self, mark: re.Match[bytes], kind: bytes) -> None:
        self._depth, self._nested = self._depth + 1, self._nested + 1
        if self._depth == 2:
            before = self._held[self._begin : mark.start()].strip()
            if before != (b"," if self._count else b"[") or kind != b"{":
                raise self._no_list()
            self._begin, self._nested = mark.start(), 0
        if self._depth > _DEEPEST or self._nested > _MOST_NESTED or mark.start() - self._begin > _LARGEST:
            raise self._too_much()

    def _check_end(self) -> None:
        if b"".join(self._held[self._begin :].split()) != (b"]" if self._count else b"[]"):
            raise self._no_list()

    def _no_list(self) -> RemoteError:
        return RemoteError(f"{self._path}: it answers with what is no list of DICOM JSON")

    def _too_much(self) -> RemoteError:
        return RemoteError(f"{self._path}: it describes an instance with more than is read")

"""Where in a TOML text a key stands: the standard library's parser does not say.

Made for text that :mod:`tomllib` has already accepted, and for the flat shape of a profile: keys, and arrays of
tables of keys. A key that is written in another way (quoted, dotted, in an inline table) is placed at its table.
"""

from __future__ import annotations

import re

HEADER = re.compile(r"^\s*\[\[?\s*([A-Za-z0-9_.-]+)\s*\]?\]")
KEY = re.compile(r"^\s*([A-Za-z0-9_-]+)\s*=(.*)$")
TRIPLE = ('"""', "'''")


class Lines:
    """``find("title")`` and ``find("requirement", 2, "minimum")`` (the third table) give a line number from 1."""

    def __init__(self, text: str) -> None:
        self._places: dict[tuple[str | int, ...], int] = {}
        self._counts: dict[str, int] = {}
        self._table: tuple[str | int, ...] = ()
        self._open: str | None = None
        for number, line in enumerate(text.splitlines(), 1):
            self._read_line(number, line)

    def find(self, *path: str | int) -> int:
        """The line of the key, or of the nearest table around it; 1 where there is none."""
        while path and path not in self._places:
            path = path[:-1]
        return self._places.get(path, 1)

    def _read_line(self, number: int, line: str) -> None:
        if self._open:
            self._open = None if self._open in line else self._open
        elif header := HEADER.match(line):
            self._enter(header[1], number)
        elif key := KEY.match(line):
            self._places.setdefault((*self._table, key[1]), number)
            self._open = next((q for q in TRIPLE if key[2].count(q) == 1), None)

    def _enter(self, name: str, number: int) -> None:
        index = self._counts.get(name, -1) + 1
        self._counts[name] = index
        self._table = (name, index)
        self._places[self._table] = number
        self._places.setdefault((name,), number)

"""What is wrong with a table or its description: where it is, what was found, and what was expected."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

MOST = 20
"""problems that are told at once; the rest are counted"""
_LONGEST = 60
"""characters of what was found that are shown"""


@dataclass(frozen=True)
class Problem:
    """One thing that cannot be used.

    ``found`` may be a person's value, and ``detail`` has what stands in the file beside it, such as the names in its
    first line, which in a file without any are a person's values: both are for the site alone. Where the site shows
    no columns, ``outside`` stands for ``expected`` and ``column`` in what leaves it.
    """

    file: str
    expected: str
    line: int | None = None
    column: str | None = None
    found: str | None = None
    detail: str = ""
    outside: str | None = None

    @property
    def where(self) -> str:
        return self._place(self.column)

    def public(self) -> str:
        """Where, and what was expected: never a value of the table, nor a name that only the table has."""
        if self.outside is not None:
            return f"{self._place(None)}: expected {self.outside}"
        return f"{self.where}: expected {self.expected}"

    def private(self) -> str:
        """The same with what was found, for the people of the site."""
        found = "" if self.found is None else f"found {quoted(self.found)}, "
        return f"{self.where}: {found}expected {self.expected}{self.detail}"

    def _place(self, column: str | None) -> str:
        parts = (shown(self.file), self.line and f"line {self.line}", column and f"column {shown(column)}")
        return ", ".join(part for part in parts if part)


class TableError(Exception):
    """A dataset that cannot be read. Its text names file, line, column and what was expected, and no value."""

    def __init__(self, problems: Iterable[Problem], more: int = 0) -> None:
        self.problems = tuple(problems)
        self.more = more
        super().__init__("\n".join(self.lines()))

    def lines(self, *, private: bool = False) -> Iterator[str]:
        """One line a problem, and how many more there are; ``private`` ones quote what was found."""
        yield from (problem.private() if private else problem.public() for problem in self.problems)
        if self.more:
            yield f"and {self.more} more"


@dataclass
class Problems:
    """Collects problems; keeps the first :data:`MOST` and counts the others."""

    kept: list[Problem] = field(default_factory=list)
    more: int = 0

    def add(self, problem: Problem) -> None:
        if len(self.kept) < MOST:
            self.kept.append(problem)
        else:
            self.more += 1

    def raise_any(self) -> None:
        """Raises :class:`TableError` if there is any."""
        if self.kept:
            raise TableError(self.kept, self.more)


def one(file: str, expected: str, line: int | None = None, found: str | None = None, detail: str = "") -> TableError:
    """The error of a single problem."""
    return TableError([Problem(file, expected, line, None, found, detail)])


def shown(text: str) -> str:
    """A name as a terminal can show it, cut where it is too long."""
    plain = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)
    return plain if len(plain) <= _LONGEST else f"{plain[:_LONGEST]}…"


def quoted(text: str) -> str:
    """The same between quotation marks; nothing is named as nothing."""
    return f"'{shown(text)}'" if text else "nothing"

"""A model as a formula: the part of Wilkinson's notation that a site can admit.

``outcome ~ term + term``. A term is a column or up to three joined by ``:`` (their product) or ``*`` (the product and
all that it is made of); ``- 1`` leaves the intercept out. A column is a name, in backticks if it has other characters
than letters, digits and ``_``, or ``log(NAME)``, ``log2``, ``log10``, ``exp``, ``sqrt``, ``I(NAME ** 2)``.

formulaic expands it and codes the categories, but it would also run any Python that stands in a formula, and a
condition such as ``I(age > 93)`` picks out single persons: so nothing else is let through to it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from .faults import Fault

LONGEST = 2000
"""characters"""
MOST_FACTORS = 3
"""of one term"""
FUNCTIONS = ("log", "log2", "log10", "exp", "sqrt")

_TOKEN = re.compile(
    r"\s*(?:(?P<quoted>`[^`\\\r\n]+`)|(?P<name>[^\W\d]\w*)|(?P<number>\d+)|(?P<sign>\*\*|[~+\-:*()]))\s*"
)
_HELP = (
    "write it as outcome ~ a + b + a:b, with names of columns, log(a), log2(a), log10(a), exp(a), sqrt(a), I(a ** 2)"
)


@dataclass(frozen=True)
class Formula:
    """``given`` is the formula as it was written, ``right`` its right side as formulaic gets it.

    ``columns`` are the names of all columns, each once.
    """

    given: str
    outcome: str
    right: str
    columns: tuple[str, ...]
    intercept: bool


def parse(formula: str, *, outcome: bool = True) -> Formula:
    """Read a formula, or with ``outcome`` false one with a right side only. Raises :class:`Fault`."""
    if len(formula) > LONGEST:
        raise Fault(f"parameters: formula: has more than {LONGEST} characters")
    return _Parser(formula).formula(outcome)


class _Parser:
    """Recursive descent over the tokens of one formula."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = list(self._split())
        self._columns: dict[str, None] = {}

    def formula(self, outcome: bool) -> Formula:
        left = self._factor() if outcome else ""
        if outcome or self._next() == "~":
            self._take("~")
        terms, intercept = self._terms()
        if self._tokens:
            raise self._wrong()
        right = " + ".join([("1" if intercept else "0"), *terms])
        return Formula(self._text, left, right, tuple(self._columns), intercept)

    def _terms(self) -> tuple[list[str], bool]:
        terms, intercept, sign = [], True, "+"
        while True:
            if self._next() in {"0", "1"}:
                intercept = (self._tokens.pop(0) == "1") == (sign == "+")
            elif sign == "-":
                raise self._wrong()
            else:
                terms.append(self._term())
            if self._next() not in {"+", "-"}:
                return list(dict.fromkeys(terms)), intercept
            sign = self._tokens.pop(0)

    def _term(self) -> str:
        parts = [self._factor()]
        while self._next() in {":", "*"}:
            parts += [self._tokens.pop(0), self._factor()]
        if len(parts) > 2 * MOST_FACTORS:
            raise Fault(f"parameters: formula: a term joins more than {MOST_FACTORS} columns")
        return "".join(parts)

    def _factor(self) -> str:
        token = self._next()
        if token == "I":
            return self._power()
        if token in FUNCTIONS and self._tokens[1:2] == ["("]:
            self._tokens.pop(0)
            return f"{token}({self._within(self._column)})"
        return self._column()

    def _power(self) -> str:
        self._take("I")

        def power() -> str:
            column = self._column()
            self._take("**")
            if self._next() not in {"2", "3"}:
                raise self._wrong()
            return f"{column} ** {self._tokens.pop(0)}"

        return f"I({self._within(power)})"

    def _within(self, read: Callable[[], str]) -> str:
        self._take("(")
        found = read()
        self._take(")")
        return found

    def _column(self) -> str:
        token = self._next()
        if not token or not (token[0] == "`" or token[0].isalpha() or token[0] == "_"):
            raise self._wrong()
        self._columns.setdefault(self._tokens.pop(0).strip("`"))
        return token

    def _take(self, token: str) -> None:
        if self._next() != token:
            raise self._wrong()
        self._tokens.pop(0)

    def _next(self) -> str:
        return self._tokens[0] if self._tokens else ""

    def _wrong(self) -> Fault:
        where = f"at {' '.join(self._tokens)[:40]!r}" if self._tokens else "at its end"
        return Fault(f"parameters: formula: cannot be read {where}; {_HELP}")

    def _split(self) -> Iterator[str]:
        place = 0
        while place < len(self._text):
            found = _TOKEN.match(self._text, place)
            if not found:
                raise Fault(f"parameters: formula: cannot be read at {self._text[place : place + 20]!r}; {_HELP}")
            yield found.group().strip()
            place = found.end()

"""Whether a text is written as formulas of models are (Wilkinson's notation, as R has it).

What a tool makes of one, and which columns there are, is said elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from itertools import pairwise

_TOKEN = re.compile(r"`[^`]*`?|\w+|\*\*|\S")
_JOINING = frozenset({"~", "+", "-", ":", "*", "**"})


def formula_error(text: str, functions: Collection[str] | None = None) -> str | None:
    """What stands in ``text`` that no formula has, or None.

    ``functions``: those that may be called; any, where it is not known.
    """
    return next(_faults(_TOKEN.findall(text), functions), None)


def _faults(tokens: list[str], functions: Collection[str] | None) -> Iterator[str]:
    if tokens.count("~") > 1:
        yield "there is more than one ~"
    for before, after in pairwise(tokens):
        yield from _between(before, after, functions)
    if tokens and tokens[-1] in _JOINING:
        yield f"nothing follows {tokens[-1]!r} at its end"
    yield from _brackets(tokens)


def _between(before: str, after: str, functions: Collection[str] | None) -> Iterator[str]:
    if _is_operand(before) and _is_operand(after):
        yield f"nothing joins {before!r} and {after!r}: write + between terms; a name with blanks stands in backticks"
    elif functions is not None and after == "(" and _is_operand(before) and before not in functions:
        yield f"there is no function {before!r}; there are {', '.join(functions)} (a category needs none)"


def _brackets(tokens: list[str]) -> Iterator[str]:
    depth = 0
    for token in tokens:
        depth += {"(": 1, ")": -1}.get(token, 0)
        if depth < 0:
            yield "a bracket is closed that was not opened"
            return
    if depth:
        yield "a bracket is opened and not closed"


def _is_operand(token: str) -> bool:
    return token[0] in "`_" or token[0].isalnum()

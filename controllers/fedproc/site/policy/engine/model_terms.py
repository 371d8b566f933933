"""Names of a model's terms, as formulas make them: of columns that were asked for and categories that are known.

``Intercept``, or up to three factors joined by ``:``. A factor is a column, a function of one (``log(age)``,
``I(age ** 2)``), or a column with one of its categories (``stage[II]``, ``stage[T.II]``).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

INTERCEPT = "Intercept"
MOST_FACTORS = 3
FORMS = 12
"""in which a column may stand, its categories aside"""
_FUNCTIONS = ("log", "log2", "log10", "exp", "sqrt")
_POWERS = (2, 3)
_LONGEST = 800
"""characters of a term"""

IsCategory = Callable[[str], bool]


def is_term(text: str, columns: Collection[str], is_category: IsCategory) -> bool:
    """Whether it is made of these columns, and of nothing else but categories of which ``is_category`` is true."""
    if text == INTERCEPT:
        return True
    there = [column for column in columns if column and column in text]
    return len(text) <= _LONGEST and _are_factors(text, there, is_category, MOST_FACTORS)


def _are_factors(text: str, columns: Collection[str], is_category: IsCategory, most: int) -> bool:
    rests = dict.fromkeys(_after_one(text, columns, is_category))
    return any(
        not rest or (most > 1 and rest[0] == ":" and _are_factors(rest[1:], columns, is_category, most - 1))
        for rest in rests
    )


def _after_one(text: str, columns: Collection[str], is_category: IsCategory) -> Iterator[str]:
    """What follows on a factor, for each way to read one."""
    for column in columns:
        for written in _written(column):
            if text.startswith(written):
                yield text[len(written) :]
        if text.startswith(f"{column}["):
            yield from _after_category(text[len(column) + 1 :], is_category)


def _written(column: str) -> Iterator[str]:
    for name in (column, f"`{column}`"):
        yield name
        yield from (f"{function}({name})" for function in _FUNCTIONS)
        yield from (f"I({name} ** {power})" for power in _POWERS)


def _after_category(text: str, is_category: IsCategory) -> Iterator[str]:
    """A category may have brackets and colons of its own."""
    for end, letter in enumerate(text):
        if letter == "]" and (is_category(text[:end]) or is_category(text[:end].removeprefix("T."))):
            yield text[end + 1 :]

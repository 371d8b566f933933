"""What the text of a cell means, by its column's description. What is not certain is refused, never guessed."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import datetime
from functools import lru_cache

from .description import Column
from .problems import shown

Value = int | float | bool | str | datetime | None

_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_MOST_NAMED = 12
"""categories that an expectation names"""


class UnexpectedError(ValueError):
    """A cell's text is no value of its column."""


def value_of(column: Column) -> Callable[[str], Value]:
    """Reads the cells of a column: int, float, bool, str, datetime, or None where the value is missing.

    Blanks around a cell are not part of it. The reader raises :class:`UnexpectedError`.
    """
    read, missing = _READERS[column.type], column.missing

    def value(text: str) -> Value:
        text = text.strip()
        return None if text in missing else read(text, column)

    return value


def expected(column: Column, *, named: bool = True) -> str:
    """What a cell of the column may be, for people; not ``named``, without a word of what the description says."""
    if not named:
        return f"{_UNNAMED.get(column.type, f'a {column.type}')}, or no value"
    missing = ", ".join(sorted(column.missing - {""}))
    return f"{_WORDS[column.type](column)}, or no value (an empty cell{f', {missing}' if missing else ''})"


def date_of(text: str, form: str) -> datetime:
    """The date that a text is in that form, digit by digit. Raises ValueError if it is none."""
    if _date_pattern(form).fullmatch(text) is None:
        raise ValueError(form)
    return datetime.strptime(text, form)


def plain_number(text: str, decimal: str) -> str | None:
    """The number with a decimal point, if it is one: digits of ASCII, one decimal mark, no mark of thousands."""
    if decimal == ",":
        if "." in text:
            return None
        text = text.replace(",", ".", 1)
    return text if _NUMBER.fullmatch(text) else None


def _integer(text: str, column: Column) -> int:
    plain = plain_number(text, column.decimal) or ""
    whole, _, fraction = plain.partition(".")
    if _INTEGER.fullmatch(whole) and not fraction.strip("0"):
        return int(whole)
    raise UnexpectedError


def _number(text: str, column: Column) -> float:
    plain = plain_number(text, column.decimal)
    number = math.nan if plain is None else float(plain)
    if math.isfinite(number):
        return number
    raise UnexpectedError


def _boolean(text: str, column: Column) -> bool:
    folded = text.casefold()
    if folded in column.true:
        return True
    if folded in column.false:
        return False
    raise UnexpectedError


def _category(text: str, column: Column) -> str:
    value = column.spellings.get(text, text)
    if value in column.values:
        return value
    raise UnexpectedError


def _date(text: str, column: Column) -> datetime:
    try:
        return date_of(text, column.format)
    except ValueError as error:
        raise UnexpectedError from error


@lru_cache(maxsize=64)
def _date_pattern(form: str) -> re.Pattern[str]:
    """Years have four digits; the rest has one or two, and two where another part follows at once, or precedes."""
    parts = re.split(r"(%[A-Za-z])", form)
    digits = {
        number: "{4}" if part == "%Y" else "{2}" if _touches(parts, number) else "{1,2}"
        for number, part in enumerate(parts)
        if number % 2
    }
    return re.compile("".join(f"[0-9]{digits[n]}" if n in digits else re.escape(part) for n, part in enumerate(parts)))


def _touches(parts: list[str], number: int) -> bool:
    before, after = parts[number - 1], parts[number + 1]
    return (not before and number > 1) or (not after and number + 2 < len(parts))


def _text(text: str, _: Column) -> str:
    return text


_READERS: dict[str, Callable[[str, Column], Value]] = {
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
    "category": _category,
    "date": _date,
    "text": _text,
}


def _named(texts: tuple[str, ...]) -> str:
    more = f" and {len(texts) - _MOST_NAMED} more" if len(texts) > _MOST_NAMED else ""
    return ", ".join(map(shown, texts[:_MOST_NAMED])) + more


_UNNAMED = {"integer": "a whole number", "category": "one of the categories that dataset.json names"}
_WORDS: dict[str, Callable[[Column], str]] = {
    "integer": lambda column: "a whole number such as 12",
    "number": lambda column: f"a number such as 12{column.decimal}5",
    "boolean": lambda column: f"{_named(tuple(sorted(column.true)))} or {_named(tuple(sorted(column.false)))}",
    "category": lambda column: f"one of {_named(column.values)}",
    "date": lambda column: f"a date such as {datetime(2026, 1, 31).strftime(column.format)}",
    "text": lambda column: "a text",
}

"""What a column seems to mean, by its cells: a proposal, with notes on what a person must look at."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fedproc.site.data.describing.dialect import PERHAPS_MISSING, SURELY_MISSING, decimal_of, may_be_thousands
from fedproc.site.data.describing.personal import RARE, may_tell_of_persons
from fedproc.tables.problems import quoted
from fedproc.tables.values import date_of, plain_number

FEW = RARE
"""rows: a category that fewer have is noted, as the description is shown outside"""
MOST_CATEGORIES = 20
_ODD_SHARE = 0.2
"""of a column's texts that may be no numbers, for it to be a column of numbers with faults"""

_TRUE = frozenset({"1", "1.0", "1,0", "true", "wahr", "vrai", "vero", "verdadero", "yes", "ja", "si", "sí", "oui",
                   "sim", "tak", "áno", "igen", "da", "ναι"})  # fmt: skip
_FALSE = frozenset({"0", "0.0", "0,0", "false", "falsch", "faux", "falso", "no", "nein", "non", "não", "nao", "nee",
                    "nej", "nie", "ne", "nem", "nu", "όχι"})  # fmt: skip
_TRUE_LETTERS = frozenset("yjsot")
_BESIDE_WORDS = frozenset("yjsotn")
_LETTERS = ({"y", "n"}, {"j", "n"}, {"s", "n"}, {"o", "n"}, {"t", "f"})
"""single letters are spellings only as a pair: f alone may be female"""
_DATES = ("%Y-%m-%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%Y/%m/%d")
_TIMES = ("", " %H:%M:%S", " %H:%M", "T%H:%M:%S")
_LIKE_DATE = re.compile(r"[0-9]{1,4}[-./][0-9]{1,2}[-./][0-9]{1,4}")
_UNIT = re.compile(r"[(\[]([^()\[\]]{1,20})[)\]]\s*$")


@dataclass
class ProposedColumn:
    """A column as ``dataset.json`` has it, and what a person must look at."""

    entry: dict[str, Any]
    notes: list[str] = field(default_factory=list)


def propose_column(header: str, cells: Sequence[str], decimal: str) -> ProposedColumn:
    """The description of a column whose cells these are, in a table with that decimal mark."""
    texts = Counter(text for cell in cells if (text := cell.strip()) and text not in SURELY_MISSING)
    found = ProposedColumn({"name": header})
    if unit := _UNIT.search(header):
        found.entry["unit"] = unit[1].strip()
    if not texts:
        found.entry["type"] = "text"
        found.notes.append("no row has a value, so its type cannot be seen")
        return found
    for propose in (_boolean, _number, _date, _category):
        if propose(found, texts, decimal):
            return found
    found.entry["type"] = "text"
    return found


def _boolean(found: ProposedColumn, texts: Counter[str], _: str) -> bool:
    present, missing = _without_perhaps(texts)
    folded = {text.casefold() for text in present}
    spelt_out = {text for text in folded & (_TRUE | _FALSE) if text.isalpha()}
    mixed = len(spelt_out) > 0 and not folded <= _TRUE | _FALSE and folded <= _TRUE | _FALSE | _BESIDE_WORDS
    if not folded or not (folded in _LETTERS or folded <= _TRUE | _FALSE or mixed):
        return False
    true = folded & (_TRUE | _TRUE_LETTERS)
    spellings = {"true": sorted(true or _TRUE), "false": sorted(folded - true or _FALSE)}
    found.entry |= {"type": "boolean", **spellings}
    _add_missing(found, missing)
    if mixed:
        of = " and ".join(f"{', '.join(map(quoted, spellings[key]))} for {key}" for key in ("true", "false"))
        found.notes.append(f"{of}: is that right?")
    if {"0", "1"} & folded and len(folded) == 1:
        found.notes.append(f"every row with a value has {quoted(min(folded))}: is it a boolean, or a count?")
    return True


def _number(found: ProposedColumn, texts: Counter[str], usual: str) -> bool:
    present, missing = _without_perhaps(texts)
    decimal = decimal_of(present, usual)
    numbers = [plain for text in present if (plain := plain_number(text, decimal)) is not None]
    odd = len(present) - len(numbers)
    if not numbers or odd > _ODD_SHARE * len(present) or _is_code(present):
        return False
    whole = all(not number.partition(".")[2].strip("0") and "e" not in number.lower() for number in numbers)
    found.entry["type"] = "integer" if whole else "number"
    if decimal != usual and not whole:
        found.entry["decimal"] = decimal
    _add_missing(found, missing)
    if odd:
        found.notes.append(f"{odd} of its texts are no numbers: fedproc data check says where")
    if whole and all(re.fullmatch("[0-9]{8}", number) and _is_date(number, "%Y%m%d") for number in numbers):
        found.notes.append('are these dates? Then it has "type": "date" and "format": "%Y%m%d"')
    if may_be_thousands(list(present), decimal):
        found.notes.append(f"is {decimal!r} in it the decimal mark, or does it mark thousands?")
    return True


def _is_code(texts: Iterable[str]) -> bool:
    """Digits that are a name rather than a number: with zeros before them, or longer than any measure."""
    return any(re.fullmatch(r"0[0-9]+|[0-9]{16,}", text) for text in texts)


def _date(found: ProposedColumn, texts: Counter[str], _: str) -> bool:
    present, missing = _without_perhaps(texts)
    if sum(map(bool, map(_LIKE_DATE.match, present))) < (1 - _ODD_SHARE) * len(present):
        return False
    fits = {form: sum(_is_date(text, form) for text in present) for day in _DATES for form in _with_times(day)}
    odd = len(present) - max(fits.values())
    if not present or odd > _ODD_SHARE * len(present):
        return False
    formats = [form for form, count in fits.items() if count == len(present) - odd]
    found.entry |= {"type": "date", "format": formats[0]}
    _add_missing(found, missing)
    if odd:
        found.notes.append(f"{odd} of its texts are no dates as {formats[0]} has them: fedproc data check says where")
    if len(formats) > 1:
        found.notes.append(f"its dates are {' or '.join(formats)}: nothing in them says which")
    return True


def _with_times(day: str) -> list[str]:
    return [day + time for time in _TIMES]


def _is_date(text: str, form: str) -> bool:
    try:
        date_of(text, form)
    except ValueError:
        return False
    return True


def _category(found: ProposedColumn, texts: Counter[str], _: str) -> bool:
    same: dict[str, list[str]] = defaultdict(list)
    for text, _count in sorted(texts.items(), key=lambda item: (-item[1], item[0])):
        same[" ".join(text.casefold().split())].append(text)
    if len(same) > min(MOST_CATEGORIES, max(2, sum(texts.values()) // 2)):
        return False
    counts = {spelt[0]: sum(texts[text] for text in spelt) for spelt in same.values()}
    if may_tell_of_persons(found.entry["name"], counts):
        found.notes.append(
            "its texts may tell of persons, so it is proposed as text: researchers see the categories of a description;"
            ' if they may see these, give it "type": "category" and "values"'
        )
        return False
    if same.keys() & _TRUE and same.keys() & _FALSE:
        others = sorted(spelt[0] for key, spelt in same.items() if key not in _TRUE | _FALSE | _BESIDE_WORDS)
        found.notes.append(
            f"is it yes or no, but for {', '.join(map(quoted, others))}? Then name these in its "
            '"missing", and give it "type": "boolean" with "true" and "false"'
        )
    values = sorted(spelt[0] for spelt in same.values())
    found.entry |= {"type": "category", "values": values}
    doubled = {spelt[0]: spelt[1:] for spelt in same.values() if spelt[1:]}
    if doubled:
        found.entry["spellings"] = doubled
        found.notes += [
            f"{', '.join(map(quoted, more))} is taken for {quoted(value)}" for value, more in doubled.items()
        ]
    _note_few(found, counts)
    return True


def _note_few(found: ProposedColumn, counts: Mapping[str, int]) -> None:
    if few := sorted(value for value, count in counts.items() if count < FEW):
        named = ", ".join(map(quoted, few))
        found.notes.append(f"fewer than {FEW} rows have {named}: researchers see the categories of a description")


def _without_perhaps(texts: Counter[str]) -> tuple[list[str], list[str]]:
    return [text for text in texts if text not in PERHAPS_MISSING], sorted(PERHAPS_MISSING & texts.keys())


def _add_missing(found: ProposedColumn, missing: Sequence[str]) -> None:
    """Beside what means a missing value in every column; the proposal of the whole adds those."""
    if missing:
        found.entry["missing"] = list(missing)
        found.notes.append(f"{', '.join(map(quoted, missing))} is taken for a missing value")

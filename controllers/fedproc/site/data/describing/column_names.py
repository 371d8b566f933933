"""The names of a table's columns: those of its first line, made such that a description may have them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from fedproc.site.data.describing.dialect import SURELY_MISSING
from fedproc.tables.records import Records
from fedproc.tables.values import plain_number

_LONGEST = 200
_DATE = re.compile(r"[0-9]{1,4}[-./][0-9]{1,2}[-./][0-9]{1,4}.*", re.DOTALL)


def clean_names(headers: Iterable[str]) -> dict[str, str]:
    """A name for each header: printable, not too long, and each once."""
    found: dict[str, str] = {}
    for header in headers:
        found[header] = _unlike(_printable(header), set(found.values()))
    return found


def named(entry: Mapping[str, Any], name: str, header: str) -> dict[str, Any]:
    """The column's entry under this name; its header stands beside it where it is another."""
    rest = {key: value for key, value in entry.items() if key not in {"name", "header"}}
    return {"name": name} | ({"header": header} if header != name else {}) | rest


def is_named(entry: Any) -> bool:
    """Whether an entry of a ``dataset.json`` has a name at all."""
    return isinstance(entry, dict) and isinstance(entry.get("name"), str)


def header_of(entry: Mapping[str, Any]) -> str:
    """The column's name in the file."""
    header = entry.get("header")
    return (header if isinstance(header, str) and header.strip() else str(entry["name"])).strip()


def seems_data(table: Records) -> bool:
    """Whether the first line has values rather than names: numbers and dates, or texts that the rows have, too."""
    places = [place for place, name in enumerate(table.names) if name]
    values = sum(_is_value(table.names[place]) or _is_repeated(table, place) for place in places)
    return 2 * values >= len(places)


def _printable(header: str) -> str:
    plain = "".join(letter if letter.isprintable() else " " for letter in header)
    return " ".join(plain.split())[:_LONGEST].strip() or "column"


def _unlike(name: str, taken: set[str]) -> str:
    found, number = name, 1
    while found in taken:
        number += 1
        found = f"{name[: _LONGEST - 6]} {number}"
    return found


def _is_value(name: str) -> bool:
    number = plain_number(name, ".") or plain_number(name, ",")
    return number is not None or name in SURELY_MISSING or _DATE.fullmatch(name) is not None


def _is_repeated(table: Records, place: int) -> bool:
    return any(cells[place].strip() == table.names[place] for _, cells in table.rows)

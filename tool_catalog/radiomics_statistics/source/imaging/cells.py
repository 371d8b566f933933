"""Tables of persons in which no cell is of a few: rare values are taken together."""

from __future__ import annotations

import re
from collections.abc import Collection, Hashable, Iterable, Mapping
from typing import Protocol, TypeVar

OTHERS = "(others)"
_CUT = "..."
_OTHER_CHARACTERS = re.compile(r"[^A-Za-z0-9 ().,_+&/?-]+")


class OfPersons(Protocol):
    """What is counted: a series, a lesion."""

    @property
    def persons(self) -> Collection[str]: ...


One = TypeVar("One", bound=OfPersons)
Value = TypeVar("Value", bound=Hashable)


def persons_of(several: Iterable[OfPersons]) -> int:
    """How many persons they are of; all without an id count as one."""
    return len({person for one in several for person in one.persons})


def named(text: str, most: int) -> str:
    """A value of an image as tools declare it: so many plain characters at most; ``?`` where there is none.

    What is longer is cut, and ends in ``...``.
    """
    plain = " ".join(_OTHER_CHARACTERS.sub(" ", text).split())
    return (plain if len(plain) <= most else plain[: most - len(_CUT)].rstrip() + _CUT) or "?"


def joined(by_value: Mapping[Value, list[One]], least: int, most: int, others: Value) -> dict[Value, list[One]]:
    """Values of fewer than ``least`` persons, and those beyond the ``most`` frequent, are one: ``others``.

    If they are few even so, the next larger value joins them: what is left out could else be told from the whole.
    """
    ordered = sorted(by_value, key=lambda value: (persons_of(by_value[value]), str(value)))
    rare = len(ordered) - most + 1 if len(ordered) > most else 0
    small = [value for at, value in enumerate(ordered) if at < rare or persons_of(by_value[value]) < least]
    together = [one for value in small for one in by_value[value]]
    while small and persons_of(together) < least and len(small) < len(ordered):
        together += by_value[ordered[len(small)]]
        small.append(ordered[len(small)])
    alone = {value: by_value[value] for value in ordered[len(small) :]}
    return {**alone, others: together} if small else alone

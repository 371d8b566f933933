"""The masked answers of all hosts become one answer, as if all their persons were at one host."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from fractions import Fraction
from typing import Any

from .faults import NoSumError
from .words import FORMAT, is_word, total

MOST = 10**9
"""persons of all hosts together"""


def add_up(answers: Mapping[str, dict[str, Any]], own: Collection[str]) -> dict[str, Any]:
    """The answers by host as one, each masked number replaced by its sum over all hosts, a Fraction.

    ``own``: keys of an answer under which hosts differ; of these the one answer has none.
    Raises NoSumError if an answer is not masked or of others than these hosts, or if they differ elsewhere.
    """
    documents = {host: _document(host, answer, sorted(answers)) for host, answer in answers.items()}
    bare = {host: {key: part for key, part in each.items() if key not in own} for host, each in documents.items()}
    found = _added(bare, "")
    assert isinstance(found, dict)
    return found


def own_parts(answer: dict[str, Any], own: Collection[str]) -> dict[str, Any]:
    """What a masked answer says of its host alone."""
    document = answer.get("document")
    return {key: document[key] for key in own if key in document} if isinstance(document, dict) else {}


def persons(number: Fraction) -> int:
    """A count. Raises NoSumError if it is none, as it is where masks do not cancel."""
    if number.denominator != 1 or not 0 <= number <= MOST:
        raise NoSumError("the masks do not cancel: hosts masked with others, or an answer was changed; run it again")
    return int(number)


def mean_and_squares(n: Fraction, weighted: Fraction, squares: Fraction) -> tuple[Fraction, Fraction]:
    """The mean, and the sum of squared deviations from it, of what hosts declared as mean and sum_of_squares.

    ``weighted`` is then the sum of persons times mean, ``squares`` that of squares about 0 (n above 0).
    """
    return weighted / n, squares - weighted**2 / n


def _document(host: str, answer: dict[str, Any], hosts: list[str]) -> dict[str, Any]:
    document = answer.get("document")
    if answer.get("format") != FORMAT or not isinstance(document, dict):
        raise NoSumError(f"answer of {host}: it was not masked by its host")
    if answer.get("hosts") != hosts:
        raise NoSumError(f"answer of {host}: it was masked with other hosts than {', '.join(hosts)}; run it again")
    return document


def _added(parts: Mapping[str, Any], where: str) -> Any:
    (first, one), *others = parts.items()
    if all(is_word(part) for part in parts.values()):
        return total(parts.values())
    for host, other in others:
        if not _alike(one, other):
            raise NoSumError(_differ(first, host, where))
    if isinstance(one, dict):
        return {key: _added({host: part[key] for host, part in parts.items()}, f"{where}.{key}") for key in one}
    if isinstance(one, list):
        return [_added({host: part[at] for host, part in parts.items()}, f"{where}.{at}") for at in range(len(one))]
    return one


def _alike(one: Any, other: Any) -> bool:
    """Whether two parts are of one shape, and equal where they are neither an object nor a list."""
    if type(other) is not type(one):
        return False
    if isinstance(one, dict):
        return bool(other.keys() == one.keys())
    return len(other) == len(one) if isinstance(one, list) else bool(other == one)


def _differ(first: str, second: str, where: str) -> str:
    return f"answers of {first} and {second} differ at {where.lstrip('.')}: make the datasets' descriptions agree"

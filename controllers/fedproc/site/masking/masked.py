"""One sealed JSON output as it leaves masked: each number of its declared statistics is a word that alone says nothing.

What the site's rules, its persons and its ledger looked at is the plain file. What stands beside the statistics (names,
units, parameters) is alike at all hosts and leaves as it is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any

from fedproc.common.errors import ToolFaultError
from fedproc.contract.tool.statistics import StatisticDecl
from fedproc.contract.tool.task import OutputDecl
from fedproc.site.masking.pairs import Pairs
from fedproc.site.masking.ring import FORMAT, MODULUS, as_text, to_word
from fedproc.site.policy.engine.objects import concerns, subjects
from fedproc.site.policy.engine.strict_json import strictly

_Place = tuple[int, str]
"""of a number: which object, and its key in it"""


def mask(raw: bytes, output: OutputDecl, pairs: Pairs) -> bytes:
    """The bytes that leave; the same again for the same output. Raises :class:`ToolFaultError` if it has no sum."""
    try:
        document = strictly(raw)
        addends = _addends(document, output.statistics)
        _check_all(document, output.statistics, addends)
        plain = {place: to_word(number) for place, number in addends.items()}
    except ValueError as error:
        raise ToolFaultError(f"output {output.name} cannot be masked: {error}", code="tool_fault.masks") from error
    places = [place for place in _places(document) if place in plain]
    masks = pairs.masks(output.name, len(places))
    texts = {place: as_text((plain[place] + one) % MODULUS) for place, one in zip(places, masks, strict=True)}
    masked = {"format": FORMAT, "hosts": pairs.hosts, "document": _replaced(document, texts)}
    return json.dumps(masked, ensure_ascii=False).encode()


def _addends(document: Any, statistics: Sequence[StatisticDecl]) -> dict[_Place, Fraction]:
    """What of each number is added up over hosts: of means and deviations the sums that they follow from."""
    found: dict[_Place, Fraction] = {}
    for statistic in statistics:
        for subject in subjects(document, statistic.at):
            if concerns(statistic, subject.fields):
                numbers = _of_subject(statistic, subject.fields)
                found |= {(id(subject.fields), name): number for name, number in numbers.items()}
    return found


def _check_all(document: Any, statistics: Sequence[StatisticDecl], addends: Mapping[_Place, Fraction]) -> None:
    """Raises ValueError where a number stands at a statistic's place, in an object that is none of the statistic."""
    for statistic in statistics:
        for subject in subjects(document, statistic.at):
            for name in (*statistic.person_counts, *statistic.estimates):
                if isinstance(subject.fields.get(name), int | float) and (id(subject.fields), name) not in addends:
                    raise ValueError(f"{name} stands without the numbers of its statistic, and would leave plain")


def _of_subject(statistic: StatisticDecl, fields: Mapping[str, Any]) -> dict[str, Fraction]:
    numbers = {name: _number(fields, name) for name in (*statistic.person_counts, *statistic.estimates)}
    if statistic.mean is not None:
        persons, mean = numbers[statistic.persons], numbers[statistic.mean]
        numbers[statistic.mean] = persons * mean
        if statistic.sum_of_squares is not None:
            numbers[statistic.sum_of_squares] += persons * mean**2
    return numbers


def _number(fields: Mapping[str, Any], name: str) -> Fraction:
    value = fields.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("a number of its statistics is hidden, or is none")  # noqa: TRY004 - of a document
    return Fraction(value)


def _places(node: Any) -> Iterator[_Place]:
    """Every value of every object, in an order that does not depend on how it was written."""
    if isinstance(node, dict):
        for key in sorted(node):
            yield id(node), key
            yield from _places(node[key])
    elif isinstance(node, list):
        for entry in node:
            yield from _places(entry)


def _replaced(node: Any, texts: Mapping[_Place, str]) -> Any:
    if isinstance(node, dict):
        return {key: texts.get((id(node), key)) or _replaced(value, texts) for key, value in node.items()}
    return [_replaced(entry, texts) for entry in node] if isinstance(node, list) else node

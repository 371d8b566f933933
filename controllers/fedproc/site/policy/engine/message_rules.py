"""The rules on one message: its schema, and the counts of persons of its statistics."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, BinaryIO

from fedproc.contract.tool.messages import MessageDecl
from fedproc.site.policy.engine import disclosure_rules as rules
from fedproc.site.policy.engine.counts import Against, of_subject, refused
from fedproc.site.policy.engine.findings import Result
from fedproc.site.policy.engine.identifiers import names_patients
from fedproc.site.policy.engine.known import Known
from fedproc.site.policy.engine.objects import concerns, subjects, unaccounted
from fedproc.site.policy.engine.schema import difference_of
from fedproc.site.policy.engine.strict_json import strictly

_NAMED, _NAME = 5, 40
"""fields that are named, and characters of each name"""


def against(declared: MessageDecl, raw: bytes, floor: int, known: Known) -> tuple[Any, list[Against]]:
    """The document, and what the rules have against it. Raises ValueError for what every reader does not read alike."""
    document = strictly(raw)
    return document, list(_found(declared, document, max(floor, rules.LOWEST_FLOOR), known))


def _found(declared: MessageDecl, document: Any, floor: int, known: Known) -> Iterator[Against]:
    if names_patients(document):
        yield refused(rules.IDENTIFIERS, "a name or a value in it stands for single patients")
    if (difference := difference_of(document, declared.json_schema, known)) is not None:
        where = f", at {difference}" if difference else ""
        named = ", ".join(_undeclared(document, declared.json_schema))
        beside = f"; fields that are not declared: {named}" if named else ""
        yield refused(rules.SCHEMA, f"it is otherwise than the tool declares{where}{beside}")
        return
    if unaccounted(document, declared.statistics):
        yield refused(rules.PRESENT, "a field of a statistic stands without the statistic's others")
    for statistic in declared.statistics:
        for subject in subjects(document, statistic.at):
            if concerns(statistic, subject.fields):
                yield from of_subject(statistic, subject, floor)


def _undeclared(document: Any, schema: Any) -> list[str]:
    """The first fields whose names stand nowhere in the schema, cut and escaped: for the host's own log."""
    known = set(_keys(schema))
    found = dict.fromkeys(key for key in _keys(document) if key not in known)
    return [ascii(key[:_NAME]) for key in list(found)[:_NAMED]]


def _keys(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        yield from part
    for inner in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        yield from _keys(inner)


def answer_message(asked: dict[str, Any], question: BinaryIO, answer: BinaryIO) -> None:
    """In the process apart: a line that says what is refused, then the document."""
    known = Known({name: values.copy for name, values in asked["known"].items()})
    declared = MessageDecl.model_validate(asked["message"])
    try:
        document, found = against(declared, question.read(), asked["floor"], known)
    except ValueError as error:
        document, refused = None, f"it cannot be read as strictly as JSON has it: {error}"
    else:
        refused = next((f"{each.rule.id}: {each.text}" for each in found if each.result is Result.refuse), "")
    answer.write(json.dumps({"refused": refused}).encode() + b"\n")
    if not refused:
        answer.write(json.dumps(document, allow_nan=False).encode())
    answer.flush()

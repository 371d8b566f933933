"""Outputs of tools that declare nothing: what can be told of them all the same, before a person looks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from fedproc.contract.tool.task import Disclosure, OutputDecl
from fedproc.site.policy.engine import disclosure_rules as rules
from fedproc.site.policy.engine.counts import Against, refused, to_review
from fedproc.site.policy.engine.identifiers import identifies
from fedproc.site.policy.engine.strict_json import strictly


def of_undeclared(output: OutputDecl, raw: bytes, kind: str | None, floor: int) -> Iterator[Against]:
    """Its kind, names of patients in a text, and the counts of the fields that the tool names, in whatever way."""
    if kind is not None:
        yield to_review(rules.KIND, f"a file is of kind {kind}")
    elif output.disclosure is not Disclosure.individual and identifies(raw.decode("utf-8", "replace")):
        yield refused(rules.IDENTIFIERS, "a name or a value in it stands for single patients")
    named = {*output.min_count_fields, *(name for each in output.statistics for name in each.person_counts)}
    if named:
        yield from _of_counts(named, raw, floor)


def _of_counts(fields: set[str], raw: bytes, floor: int) -> Iterator[Against]:
    try:
        numbers = list(_numbers(strictly(raw), fields))
    except ValueError:
        yield to_review(rules.STRICT, "is not strict JSON, so that its counts of persons cannot be checked")
        return
    if small := sorted({name for name, value in numbers if 0 < value < floor}):
        yield refused(rules.FLOOR_RULE, f"a count of persons in {', '.join(small)} is below {floor}")


def _numbers(content: Any, fields: set[str], under: str | None = None) -> Iterator[tuple[str, float]]:
    if isinstance(content, dict):
        for key, value in content.items():
            yield from _numbers(value, fields, key if key in fields else under)
    elif isinstance(content, list):
        for value in content:
            yield from _numbers(value, fields, under)
    elif under is not None and isinstance(content, int | float) and not isinstance(content, bool):
        yield under, content
    elif under is not None and isinstance(content, str):
        with suppress(ValueError):
            yield under, float(content)

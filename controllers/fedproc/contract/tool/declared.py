"""What is wrong with what an output declares of itself: told to its provider, and to the host that is to rely on it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from fedproc.contract.tool.closed_schema import LONG, SHORT, SOURCES, places, problems
from fedproc.contract.tool.statistics import StatisticDecl
from fedproc.contract.tool.task import Disclosure, OutputDecl

_BY_TEXT = (Disclosure.public, Disclosure.report)
"""classes whose texts by a pattern may be longer: they say nothing of persons"""


def problems_of(output: OutputDecl) -> tuple[str, ...]:
    """Why a host could not check it by its declaration alone; empty if it can, or if nothing is declared."""
    return _problems(output.model_dump_json(by_alias=True))


@lru_cache(maxsize=256)
def _problems(written: str) -> tuple[str, ...]:
    output = OutputDecl.model_validate_json(written)
    return tuple(_found(output)) if output.content is not None else ()


def _found(output: OutputDecl) -> Iterator[str]:
    content = output.content
    assert content is not None
    if output.folder != bool(content.files):
        yield "files: a folder, and only a folder, declares the names of its files"
    for column in content.columns:
        if column.type == "category" and bool(column.values) == bool(column.taken_from):
            yield f"column {column.name}: a category declares either its values or where they are taken from"
        if set(column.taken_from) - SOURCES.keys():
            yield f"column {column.name}: taken_from is a list of {', '.join(SOURCES)}"
    schema = content.schema_of_document()
    if schema is None:
        return
    statistics = [each.at_rows() for each in output.statistics] if content.type == "csv" else output.statistics
    yield from problems(schema, statistics, LONG if output.disclosure in _BY_TEXT else SHORT)
    there = places(schema)
    yield from (text for statistic in statistics for text in _absent(statistic, there) if there)


def _absent(statistic: StatisticDecl, there: set[str]) -> Iterator[str]:
    for name in statistic.fields():
        path = f"{statistic.at}.{name}".lstrip(".")
        if not any(place == path or re.match(re.escape(path) + r"[\[{.]", place) for place in there):
            yield f"statistics: {statistic.statistic}: there is no {path} in the schema"

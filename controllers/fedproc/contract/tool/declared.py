"""What is wrong with what an output declares of itself: told to its provider, and to the host that is to rely on it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

from pydantic_core import PydanticSerializationError

from fedproc.common.text import did_you_mean
from fedproc.contract.tool.closed_schema import LONG, SHORT, SOURCES, Place, leaves_of, problems
from fedproc.contract.tool.outputs import ContentDecl
from fedproc.contract.tool.statistics import StatisticClass, StatisticDecl
from fedproc.contract.tool.task import Disclosure, OutputDecl

_OF_CELLS = (StatisticClass.frequencies, StatisticClass.histogram)
_HIDDEN = re.compile(r"\*|-|<[1-9][0-9]?|NA|N/A|n/a|hidden|suppressed")
_MOST_SPELLINGS = 2
"""of a hidden number: which of more it is would say something of it"""
_BY_TEXT = (Disclosure.public, Disclosure.report)
"""classes whose texts by a pattern may be longer: they say nothing of persons"""


def problems_of(output: OutputDecl) -> tuple[str, ...]:
    """Why a host could not check it by its declaration alone; empty if it can, or if nothing is declared."""
    try:
        written = output.model_dump_json(by_alias=True)
    except PydanticSerializationError:
        return ("a text in it holds half of a surrogate pair, which UTF-8 cannot write",)
    return _problems(written)


@lru_cache(maxsize=256)
def _problems(written: str) -> tuple[str, ...]:
    output = OutputDecl.model_validate_json(written)
    return tuple(_found(output)) if output.content is not None else ()


def _found(output: OutputDecl) -> Iterator[str]:
    content = output.content
    assert content is not None
    if output.folder != bool(content.files):
        yield "files: a folder, and only a folder, declares the names of its files"
    if any(name.count("#") > 1 for name in content.files):
        yield "files: # stands once in a name"
    yield from _of_columns(content)
    schema = content.schema_of_document()
    if schema is None:
        return
    statistics = [each.at_rows() for each in output.statistics] if content.type == "csv" else output.statistics
    yield from problems(schema, statistics, LONG if output.disclosure in _BY_TEXT else SHORT)
    there = leaves_of(schema)
    paths = {place.path for place in there}
    for statistic in statistics if there else ():
        yield from _absent(statistic, paths)
        yield from _dimensions(statistic, there)


def _of_columns(content: ContentDecl) -> Iterator[str]:
    for column in content.columns:
        if column.type == "category" and bool(column.values) == bool(column.taken_from):
            yield f"column {column.name}: a category declares either its values or where they are taken from"
        if set(column.taken_from) - SOURCES.keys():
            yield f"column {column.name}: taken_from is a list of {', '.join(SOURCES)}"
        if len(column.hidden) > _MOST_SPELLINGS or not all(_HIDDEN.fullmatch(each) for each in column.hidden):
            yield f"column {column.name}: hidden is one or two of *, -, <10 (any number), NA, n/a, hidden, suppressed"


def _dimensions(statistic: StatisticDecl, there: Sequence[Place]) -> Iterator[str]:
    """A number that is free to be anything, named a dimension, would be a place for values of patients."""
    if statistic.dimensions and statistic.statistic not in _OF_CELLS:
        yield f"statistics: {statistic.statistic}: dimensions are those of frequencies and of a histogram alone"
    paths = {f"{statistic.at}.{name}".lstrip(".") for name in statistic.dimensions}
    for place in there:
        if place.path in paths and not (
            {"enum", "const", "x-from"} & place.node.keys() or place.node.get("type") == "null"
        ):
            yield f"statistics: {statistic.statistic}: the dimension {place.path} is an enum, a const or x-from"


def _absent(statistic: StatisticDecl, there: set[str]) -> Iterator[str]:
    for name in statistic.fields():
        path = f"{statistic.at}.{name}".lstrip(".")
        if not any(place == path or re.match(re.escape(path) + r"[\[{.]", place) for place in there):
            near = did_you_mean(path, there)
            yield f"statistics: {statistic.statistic}: there is no {path} in the schema{near}"

"""Columns that parameters name, held against those that the chosen datasets have. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fedproc.central.experiments.parameters import FieldError, field_error
from fedproc.common.text import did_you_mean
from fedproc.contract.tool.columns import NamedColumn, named_columns
from fedproc.contract.wire.datasets import NAME_LENGTH

_MOST = 50
"""names that are told: a request is refused by the first"""

Columns = Mapping[str, Mapping[str, str]]
"""by dataset (``HOST:id``) the types of its columns by name"""


@dataclass(frozen=True)
class AtHost:
    """What a host's jobs get: parameters, and by dataset (``HOST:id``) the types of its columns, or None where not all
    are known."""

    parameters: Mapping[str, Any]
    datasets: Mapping[str, Mapping[str, str] | None]


def column_errors(schema: Mapping[str, Any], hosts: Iterable[AtHost]) -> Iterator[FieldError]:
    """One fault for each name that no dataset of a host has, and for each that has a type there that the tool does not
    take; of a host with an unknown dataset nothing is said."""
    missed: dict[tuple[str, str], list[str]] = {}
    unfit: dict[tuple[NamedColumn, str], list[str]] = {}
    known: dict[str, Mapping[str, str]] = {}
    for host in hosts:
        if (columns := _known(host)) is None:
            continue
        known.update(columns)
        for column in named_columns(schema, host.parameters):
            if len(column.name) >= NAME_LENGTH or len(missed) + len(unfit) >= _MOST:
                continue
            types = {name: found[column.name] for name, found in columns.items() if column.name in found}
            if not types and column.beside:
                continue
            if not types:
                missed.setdefault(column[:2], []).extend(columns)
            elif column.types and not set(types.values()) & set(column.types):
                for name, kind in types.items():
                    unfit.setdefault((column, kind), []).append(name)
    yield from (_missing(*place, datasets, known) for place, datasets in missed.items())
    yield from (_wrong_type(column, kind, datasets) for (column, kind), datasets in unfit.items())


def _known(host: AtHost) -> Columns | None:
    found = {name: columns for name, columns in host.datasets.items() if columns is not None}
    return found if found and len(found) == len(host.datasets) else None


def _missing(where: str, name: str, datasets: list[str], known: Columns) -> FieldError:
    near = did_you_mean(name, {column for dataset in datasets for column in known[dataset]})
    what = f"there is no column {name!r} in {', '.join(datasets)}{near}"
    return field_error(f"parameters{where}", what, _look(datasets))


def _wrong_type(column: NamedColumn, kind: str, datasets: list[str]) -> FieldError:
    what = f"column {column.name!r} is of type {kind} in {', '.join(datasets)}; it must be {' or '.join(column.types)}"
    return field_error(f"parameters{column.where}", what, _look(datasets))


def _look(datasets: list[str]) -> str:
    return f"fedproc data show {datasets[0]} lists its columns"

"""Columns that parameters name, held against those that the chosen datasets have. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fedproc.central.experiments.parameters import FieldError, field_error
from fedproc.common.text import did_you_mean
from fedproc.contract.tool.columns import named_columns
from fedproc.contract.wire.datasets import NAME_LENGTH

_MOST = 50
"""names that are told: a request is refused by the first"""


@dataclass(frozen=True)
class AtHost:
    """What a host's jobs get: parameters, and by dataset (``HOST:id``) its columns, or None where not all are known."""

    parameters: Mapping[str, Any]
    datasets: Mapping[str, frozenset[str] | None]


def unknown_columns(schema: Mapping[str, Any], hosts: Iterable[AtHost]) -> Iterator[FieldError]:
    """One fault for each name that no dataset of a host has; of a host with an unknown dataset nothing is said."""
    missed: dict[tuple[str, str], list[str]] = {}
    known: set[str] = set()
    for host in hosts:
        columns = _columns(host.datasets.values())
        if columns is None:
            continue
        known |= columns
        for where, name in named_columns(schema, host.parameters):
            if name not in columns and len(name) < NAME_LENGTH and len(missed) < _MOST:
                missed.setdefault((where, name), []).extend(host.datasets)
    for (where, name), datasets in missed.items():
        what = f"there is no column {name!r} in {', '.join(datasets)}{did_you_mean(name, known)}"
        yield field_error(f"parameters{where}", what, f"fedproc data show {datasets[0]} lists its columns")


def _columns(of_datasets: Iterable[frozenset[str] | None]) -> frozenset[str] | None:
    found = list(of_datasets)
    if not found or None in found:
        return None
    return frozenset().union(*(columns for columns in found if columns is not None))

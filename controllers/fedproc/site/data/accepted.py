"""Whether a dataset may be offered, as its site has said what in its images may tell who a person is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fedproc.site.data.api import DatasetError
from fedproc.site.data.identifying import KINDS


def accepted_in(described: Mapping[str, Any]) -> frozenset[str]:
    """The kinds that a ``dataset.json`` accepts."""
    given = described.get("identifying_accepted", [])
    return frozenset(kind for kind in given if isinstance(kind, str)) if isinstance(given, list) else frozenset()


def identifying_left(accepted: Iterable[str], found: Mapping[str, int]) -> dict[str, int]:
    """How many files may tell who a person is, by the kinds that the site has not accepted."""
    known = frozenset(accepted)
    return {kind: found[kind] for kind in KINDS if kind in found and kind not in known}


def check_identifying(name: str, accepted: Iterable[str], found: Mapping[str, int]) -> None:
    """Raises :class:`DatasetError` with code ``data.identifying`` for what the site has not accepted."""
    if left := identifying_left(accepted, found):
        listed = ", ".join(f"{kind} ({count:,} files)" for kind, count in left.items())
        raise DatasetError(
            f"dataset {name!r} is not offered: its site has not said that it is de-identified",
            code="data.identifying",
            at_host=f"it may tell who persons are: {listed}",
            kinds=list(left),
        )

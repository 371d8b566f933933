"""Of how many persons of a group a check fails, as a class, and as numbers where neither side is of a few.

``none``: nobody's images fail. ``few``: those of fewer persons than ``least``. ``some``: of ``least`` persons or more,
and as many are without; these numbers are told. ``most``: fewer than ``least`` are without. ``all``: everybody's.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from imaging.cells import OfPersons, persons_of

TABLES = {"transfer_syntax": "syntax", "bit_depth": "bits", "range_used": "use"}
"""of an answer, with the field of a series that each counts by"""
EXTENTS = ("none", "few", "some", "most", "all")
NEARLY_ALL = 0.9
"""share of a table in one of its cells from which a host's rules have a person look at it"""


def extent_of(check: str, failing: Collection[OfPersons], persons: int, least: int) -> dict[str, Any]:
    """One check of one group, where ``failing`` are its series that fail."""
    failed = persons_of(failing)
    clean = persons - failed
    if failed == 0 or clean == 0:
        return {"check": check, "extent": "all" if failed else "none"}
    if failed < least or clean < least:
        return {"check": check, "extent": "few" if failed < least else "most"}
    return {"check": check, "extent": "some", "failed": failed, "clean": clean, "series": len(failing)}


def without_what_tells(checks: Sequence[dict[str, Any]], around: Collection[int], least: int) -> list[dict[str, Any]]:
    """The same, with the smallest numbers taken out until what is left does not look like parts of ``around``.

    A host's rules take numbers that stand together for the parts of each count of persons around them, and refuse a
    rest of a few persons.
    """
    told = list(checks)
    while (cells := [check["failed"] for check in told if "failed" in check]) and not _is_plain(cells, around, least):
        at = min((n for n, check in enumerate(told) if "failed" in check), key=lambda n: told[n]["failed"])
        told[at] = {name: value for name, value in told[at].items() if name not in ("failed", "clean", "series")}
    return told


def _is_plain(cells: Sequence[int], around: Collection[int], least: int) -> bool:
    if len(cells) > 1 and max(cells) >= NEARLY_ALL * sum(cells):
        return False
    return not any(0 < whole - sum(cells) < least for whole in around)

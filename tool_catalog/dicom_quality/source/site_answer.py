"""What one site says: series by modality and maker with what is wrong, in classes, and no number of a few persons."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from extents import TABLES, extent_of, without_what_tells
from findings import CHECKS
from imaging.cells import OTHERS, joined, persons_of
from imaging.faults import Fault
from series import Found, Series

MOST_GROUPS = 12
_MOST_VALUES = 20
_STEPS = ((1, "none"), (10, "1 to 9"), (100, "10 to 99"), (1000, "100 to 999"))


def quality_of(found: Found, least: int) -> dict[str, Any]:
    """All that a site says. Raises :class:`Fault` where fewer than ``least`` persons were imaged."""
    persons = persons_of(found.series)
    if persons < least:
        raise Fault(f"fewer than {least} persons (min_cell) have images here")
    return {
        "persons": persons,
        "studies": len({(min(one.persons), study) for one in found.series for study in one.studies}),
        "series": len(found.series),
        "unreadable_files": _steps(found.unreadable),
        "other_files": _steps(found.others),
        "groups": _groups(found.series, persons, least),
        **{name: _table(found.series, field, least) for name, field in TABLES.items()},
    }


def _steps(count: int) -> str:
    return next((name for end, name in _STEPS if count < end), "1000 or more")


def _groups(series: Sequence[Series], persons: int, least: int) -> list[dict[str, Any]]:
    by_group: dict[tuple[str, str], list[Series]] = {}
    for one in series:
        by_group.setdefault((one.modality, one.manufacturer), []).append(one)
    found = joined(by_group, least, MOST_GROUPS, (OTHERS, OTHERS))
    return [_group(group, found[group], persons, least) for group in sorted(found)]


def _group(group: tuple[str, str], series: Sequence[Series], persons: int, least: int) -> dict[str, Any]:
    here = persons_of(series)
    checks = [extent_of(check, _failing(series, check), here, least) for check in CHECKS]
    return {
        "modality": group[0],
        "manufacturer": group[1],
        "persons": here,
        "series": len(series),
        "checks": without_what_tells([check for check in checks if check["extent"] != "none"], (here, persons), least),
    }


def _failing(series: Iterable[Series], check: str) -> list[Series]:
    return [one for one in series if check in one.fails]


def _table(series: Sequence[Series], field: str, least: int) -> list[dict[str, Any]]:
    by_value: dict[str, list[Series]] = {}
    for one in series:
        by_value.setdefault(getattr(one, field), []).append(one)
    found = joined(by_value, least, _MOST_VALUES, OTHERS)
    return [
        {"value": value, "persons": persons_of(found[value]), "series": len(found[value])} for value in sorted(found)
    ]

"""The sums of what the sites say; hosts that tell no number of a check are named by the class that they tell."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from extents import TABLES, without_what_tells

_SUMS = ("persons", "studies", "series")
Answers = Mapping[str, Mapping[str, Any]]


def result_of(answers: Answers, least: int) -> dict[str, Any]:
    """What all sites have, which are of different persons, and each site's own sums."""
    whole = {name: sum(answer[name] for answer in answers.values()) for name in _SUMS}
    groups: dict[tuple[str, str], dict[str, Mapping[str, Any]]] = defaultdict(dict)
    for host, answer in answers.items():
        for group in answer["groups"]:
            groups[group["modality"], group["manufacturer"]][host] = group
    return {
        "status": "ok",
        "sites": {host: _site(answer) for host, answer in answers.items()},
        "together": {
            **whole,
            "groups": [_group(name, groups[name], whole["persons"], least) for name in sorted(groups)],
            **{name: _added(answer[name] for answer in answers.values()) for name in TABLES},
        },
    }


def _site(answer: Mapping[str, Any]) -> dict[str, Any]:
    return {name: answer[name] for name in (*_SUMS, "unreadable_files", "other_files")}


def _group(name: tuple[str, str], by_host: Mapping[str, Any], everybody: int, least: int) -> dict[str, Any]:
    persons = sum(group["persons"] for group in by_host.values())
    told = {host: {check["check"]: check for check in group["checks"]} for host, group in by_host.items()}
    names = dict.fromkeys(check for checks in told.values() for check in checks)
    checks = [
        _check(check, {host: (told[host].get(check), by_host[host]) for host in sorted(by_host)}) for check in names
    ]
    return {
        "modality": name[0],
        "manufacturer": name[1],
        "persons": persons,
        "series": sum(group["series"] for group in by_host.values()),
        "checks": without_what_tells(checks, (persons, everybody), least),
    }


def _check(check: str, by_host: Mapping[str, tuple[Mapping[str, Any] | None, Mapping[str, Any]]]) -> dict[str, Any]:
    """The sum over hosts that tell their number, or that nobody's or everybody's images fail."""
    failed = clean = series = 0
    untold: dict[str, list[str]] = {"few": [], "some": [], "most": []}
    for host, (told, group) in by_host.items():
        extent = told["extent"] if told else "none"
        if told and "failed" in told:
            failed, clean, series = failed + told["failed"], clean + told["clean"], series + told["series"]
        elif extent in ("none", "all"):
            failed += group["persons"] if extent == "all" else 0
            clean += group["persons"] if extent == "none" else 0
            series += group["series"] if extent == "all" else 0
        else:
            untold[extent].append(host)
    numbers = {"failed": failed, "clean": clean, "series": series} if failed and clean else {}
    extent = _extent(numbers, failed, untold)
    left_out = sorted(host for hosts in untold.values() for host in hosts)
    return {"check": check, "extent": extent, **numbers, "hosts_left_out": left_out}


def _extent(numbers: Mapping[str, int], failed: int, untold: Mapping[str, list[str]]) -> str:
    if numbers:
        return "some"
    if failed:
        return "most" if any(untold.values()) else "all"
    return "few" if not untold["some"] and not untold["most"] else "some"


def _added(tables: Iterable[Iterable[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    total: dict[str, dict[str, Any]] = {}
    for table in tables:
        for cell in table:
            entry = total.setdefault(cell["value"], {"value": cell["value"], "persons": 0, "series": 0})
            entry["persons"] += cell["persons"]
            entry["series"] += cell["series"]
    return [total[value] for value in sorted(total)]

"""All sites' lesions together: exact sums, and classes that all sites have in common."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from classes import added, class_of
from imaging.faults import Fault
from judging import is_dominated, is_like_a_count, is_one_value
from request import Request

_SUMS = ("persons", "lesions")
Answers = Mapping[str, Mapping[str, Any]]


def result_of(answers: Answers, request: Request) -> dict[str, Any]:
    """Raises :class:`Fault` where sites measured images of several modalities."""
    modalities = {answer["modality"] for answer in answers.values()}
    if len(modalities) > 1:
        raise Fault("sites have lesions on images of several modalities: choose one (modality)")
    whole = {name: sum(answer[name] for answer in answers.values()) for name in _SUMS}
    return {
        "status": "ok",
        "modality": modalities.pop(),
        "sites": {
            host: {name: answer[name] for name in (*_SUMS, "unused_lesions")} for host, answer in answers.items()
        },
        "together": {
            **whole,
            "features": [_feature(name, answers, whole["persons"], request) for name in sorted(request.features)],
        },
    }


def _feature(name: str, answers: Answers, everybody: int, request: Request) -> dict[str, Any]:
    told = {host: entry for host, answer in answers.items() for entry in answer["features"] if entry["feature"] == name}
    with_moments = {host: entry["moments"] for host, entry in told.items() if "moments" in entry}
    moments, hosts = _moments(with_moments, request.least)
    with_classes = sorted(host for host, entry in told.items() if entry["classes"])
    around = [everybody, *([moments["persons"]] if moments else [])]
    cells = added([told[host]["classes"] for host in with_classes], around, request.least)
    edges = request.features[name]
    return {
        "feature": name,
        **({"moments": moments} if moments else {}),
        "moments_of": hosts if moments else [],
        "classes": [_with_ends(cell, edges) for cell in cells],
        "classes_of": with_classes if cells else [],
        "quantiles": [_quantile(quantile, cells) for quantile in request.quantiles if cells],
    }


def _moments(by_host: Mapping[str, Mapping[str, Any]], least: int) -> tuple[dict[str, Any] | None, list[str]]:
    """Combined pairwise (T. F. Chan, G. H. Golub, R. J. LeVeque, The American Statistician 37 (1983) 242-247)."""
    sites = [by_host[host] for host in sorted(by_host)]
    if not sites:
        return None, []
    persons, lesions = (sum(site[name] for site in sites) for name in _SUMS)
    mean = math.fsum(site["lesions"] * site["mean"] for site in sites) / lesions
    shift = math.fsum(site["lesions"] * (site["mean"] - mean) ** 2 for site in sites)
    squares = math.fsum(site["sum_of_squares"] for site in sites) + shift
    doubts = (is_one_value(persons, mean, squares), is_dominated(persons, mean, squares))
    if any(doubts) or is_like_a_count(persons, mean, squares, least):
        return None, []
    deviation = math.sqrt(squares / (lesions - 1))
    found = {"persons": persons, "lesions": lesions, "mean": mean, "standard_deviation": deviation}
    return found, sorted(by_host)


def _with_ends(cell: Mapping[str, Any], edges: Sequence[float]) -> dict[str, Any]:
    low = edges[cell["first"] - 1] if cell["first"] else None
    high = edges[cell["last"]] if cell["last"] < len(edges) else None
    return {**cell, "from": low, "to": high}


def _quantile(quantile: float, cells: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    found = class_of(quantile, cells)
    assert found is not None
    return {"quantile": quantile, "first": found["first"], "last": found["last"]}

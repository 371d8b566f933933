"""The parameters of tool.yaml, read and checked at every task again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from imaging.faults import Fault
from imaging.program import read_object

MOST_EDGES = 20
DEFAULTS: dict[str, list[float]] = {
    "volume": [100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000],
    "surface_area": [100, 200, 500, 1000, 2000, 5000, 10000],
    "diameter": [5, 10, 15, 20, 25, 30, 40, 50, 80],
    "sphericity": [0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9],
    "elongation": [0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9],
    "mean": [-500, -100, 0, 50, 100, 200, 500, 1000, 1500, 2000],
    "standard_deviation": [10, 20, 50, 100, 200, 500],
    "coefficient_of_variation": [0.05, 0.1, 0.2, 0.5, 1],
    "skewness": [-1, -0.5, 0, 0.5, 1],
    "kurtosis": [-1, -0.5, 0, 0.5, 1, 2],
}
"""tool.yaml says the same; a test compares them"""
FAMILIES = (
    ("compactness_2", "sphericity"),
    ("volume", "volume_of_voxels"),
    ("energy", "root_mean_square"),
)
"""features that follow from each other, or nearly: ends of classes of one are ends of classes of the other"""


@dataclass(frozen=True)
class Request:
    """``features`` by name with the ends of their classes; ``quantiles`` rise; an empty text is any."""

    features: dict[str, list[float]]
    quantiles: list[float]
    modality: str
    segment: str
    least: int


def read_request(path: Path) -> Request:
    """Raises :class:`Fault` naming the parameter that is wrong."""
    given = read_object(path, "parameters")
    request = Request(
        features=given.get("features", DEFAULTS),
        quantiles=sorted(given.get("quantiles", [0.5])),
        modality=str(given.get("modality", "")).upper(),
        segment=str(given.get("segment", "")),
        least=given.get("min_cell", 10),
    )
    for name, edges in request.features.items():
        _check_edges(name, edges)
    _check_families(request.features)
    return request


def _check_edges(name: str, edges: Any) -> None:
    if not isinstance(edges, list) or len(edges) > MOST_EDGES or any(b <= a for a, b in pairwise(edges)):
        raise Fault(f"parameters: features: {name}: ends of classes must rise, and be {MOST_EDGES} at most")


def _check_families(features: Mapping[str, list[float]]) -> None:
    """Two histograms of one measure with ends that lie close tell who lies between, by their difference."""
    for family in FAMILIES:
        if len(asked := [name for name in family if features.get(name)]) > 1:
            raise Fault(
                f"parameters: features: {' and '.join(asked)} are one measure: give one of them no classes ([])"
            )

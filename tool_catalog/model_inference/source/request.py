"""The parameters of tool.yaml, read and checked by the task again."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from imaging.faults import Fault
from imaging.program import read_object

EDGES = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]


@dataclass(frozen=True)
class Request:
    """What is predicted on what. ``features`` are columns in the model's order; ``outcome`` may be empty."""

    sha256: str
    kind: str = "table"
    features: tuple[str, ...] = ()
    table: str = ""
    missing: str = "refuse"
    outcome: str = ""
    positive: str = ""
    output: str = "probability"
    column: int = -1
    size: int = 32
    threshold: float = 0.5
    edges: tuple[float, ...] = tuple(EDGES)
    least: int = 10


def read_request(path: Path) -> Request:
    """Raises :class:`Fault` naming the parameter that is wrong."""
    given: dict[str, Any] = dict(read_object(path, "parameters"))
    given["least"] = given.pop("min_cell", 10)
    given["column"] = given.pop("output_column", -1)
    given["edges"] = tuple(given.pop("classes", EDGES))
    given["features"] = tuple(given.pop("features", ()))
    try:
        request = Request(**given)
    except TypeError as error:
        raise Fault("parameters: one is missing (sha256), or not known") from error
    if any(b <= a for a, b in pairwise(request.edges)):
        raise Fault("parameters: classes: ends must rise")
    if request.kind == "lesions" and request.size % 2:
        raise Fault("parameters: size: must be even")
    return request

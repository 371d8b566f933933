"""What the sites' answers come to, whichever way they were sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sums import Sums

METHOD = (
    "ordinary least squares over all persons of all hosts, exact from sums of products; p-values by Student's t and F "
    "with residual_df degrees of freedom"
)
MOST_COLUMNS = 1000


@dataclass(frozen=True)
class Pooled:
    """``terms`` and ``sums`` of all persons; ``hosts`` and ``rows`` as the result has them."""

    terms: Sequence[str]
    sums: Sums
    hosts: list[dict[str, Any]]
    rows: list[dict[str, Any]]
    method: str

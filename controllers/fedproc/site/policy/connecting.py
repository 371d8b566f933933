"""What a line of the policy says of a tool's connections."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import Field

from fedproc.common.toml_settings import Section
from fedproc.contract.ids import Name


class ConnectionRule(Section):
    """A connection is a release too: to or from which task, how many MB in each direction, and how often."""

    task: Name
    max_mb: float = Field(gt=0)
    max_rounds: int | None = Field(
        None, ge=1, description="how often the task that dials may send anew; as the tool declares unless given"
    )


def most_rounds(rules: Iterable[ConnectionRule], task: str) -> int | None:
    """How often a task may send anew over a connection with ``task``; None where the policy does not say."""
    return next((rule.max_rounds for rule in rules if rule.task == task), None)

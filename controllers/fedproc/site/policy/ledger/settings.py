"""What a site's policy says of its ledger."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from fedproc.common.toml_settings import Section


class LedgerRule(Section):
    """What is released to one project is held against what was released to it before (docs/operations/site.md)."""

    compare: bool = Field(True, description="persons by whom a cohort differs from a released one: none or the floor")
    budget: int = Field(50, ge=0, description="files of statistics of a project and dataset that leave by themselves")
    window_days: float = Field(30, gt=0, description="in as many days, the last ones")
    connections: Literal["note", "refuse"] = Field(
        "note", description="of a task with a connection whose cohort differs by a few: run it and log that, or not"
    )

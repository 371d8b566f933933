"""``POST /experiments/dry-run``: what an experiment would come to at each of its hosts, if it were started now."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from fedproc.contract.api.base import View
from fedproc.contract.api.grants import DatasetAnswer
from fedproc.contract.ids import DatasetRef, HostId, ToolId
from fedproc.contract.tool.leaving import Result
from fedproc.contract.tool.task import Disclosure
from fedproc.contract.wire.releasing import Left

Stands = Literal["ok", "waits", "fails", "unknown"]


class Check(View):
    """One thing that the job needs at the host: ``waits`` holds it up, ``fails`` ends it."""

    what: Literal["online", "accepting", "tool", "runtime", "data"]
    stands: Stands
    text: str


class OutputForecast(View):
    """What the host would do with one declared output, by its declaration; its rules look at what is written."""

    task: str
    output: str
    disclosure: Disclosure
    outcome: Result
    because: list[str]


class BudgetForecast(View):
    """How much of its statistics the site still releases by itself for this project (or user) and dataset."""

    dataset: DatasetRef
    left: Left


class HostForecast(View):
    """``policy``: whose word on releases this goes by, the site's own, or the default of a site that tells none."""

    host: HostId
    tasks: list[str]
    datasets: list[DatasetRef] = []
    checks: list[Check]
    grants: list[DatasetAnswer] = []
    policy: Literal["own", "default"] = "default"
    floor: int | None = Field(None, description="persons: the least behind a count that leaves; None is not told")
    outputs: list[OutputForecast] = []
    budgets: list[BudgetForecast] = []


class DryRun(View):
    """Nothing was started or written. What no host could take is answered as ``POST /experiments`` answers it.

    ``would_run`` is whether nothing is known that ends a job before its outputs are there.
    """

    tool: ToolId
    version: str
    digest: str
    would_run: bool
    project: str | None = None
    permit: str | None = None
    purpose: str | None = None
    told_by: dict[str, str] = Field({}, description="project, permit, purpose: whose word it is, if a provider's")
    experiments_left: int = Field(description="that its user may start before one has to end")
    stored_left: int = Field(description="bytes of files and results that are left to its user")
    files_left: int | None = Field(None, description="files and results that are left to its user, however small")
    hosts: list[HostForecast]

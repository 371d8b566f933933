"""A job's order: drafted with its experiment, completed when the job may go, stamped when it is published.

Between these steps it rests in the database as JSON. It is not read into :class:`JobOrder` on its way, so that what
a newer program has written into it reaches the host; its parts are named here as they are there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NotRequired, TypedDict

from fedproc.central.experiments.placement import Placed, Window
from fedproc.contract.api.experiments import ExperimentRequest
from fedproc.contract.times import moment
from fedproc.contract.tool.tool import ToolRef
from fedproc.contract.wire.messages import Deadlines, FileRef, JobOrder, User

HOLD_SECONDS = 600.0
"""how long a gang's job may wait prepared for the others, until its relay says how long it is"""


class DeadlinesJson(TypedDict):
    """:class:`Deadlines` as JSON."""

    start_by: str
    end_by: str
    release_by: str
    hold_until: NotRequired[str]
    hold_seconds: NotRequired[float]


class OrderJson(TypedDict):
    """:class:`JobOrder` as JSON; what has its default is left out."""

    job: str
    experiment: str
    task: str
    tool: dict[str, Any]
    user: dict[str, Any]
    project: NotRequired[str]
    permit: NotRequired[str]
    purpose: NotRequired[str]
    datasets: NotRequired[list[dict[str, Any]]]
    parameters: NotRequired[dict[str, Any]]
    inputs: NotRequired[list[dict[str, Any]]]
    deadlines: DeadlinesJson
    gang: NotRequired[bool]
    hosts: NotRequired[dict[str, list[str]]]
    recipients: NotRequired[dict[str, dict[str, Any]]]


@dataclass
class Drafts:
    """Drafts the orders of one experiment; what those of a task have in common is made once."""

    experiment: str
    tool: ToolRef
    user: User
    request: ExperimentRequest
    windows: Mapping[str, Window]
    gang: frozenset[str]
    _of_task: dict[str, OrderJson] = field(default_factory=dict)

    def draft(self, job_id: str, job: Placed) -> OrderJson:
        """The order of one job as far as it is known from the request."""
        name = job.task.name
        if name not in self._of_task:
            self._of_task[name] = self._common(job_id, name)
        order: OrderJson = {**self._of_task[name], "job": job_id}
        if job.parameters:
            order["parameters"] = job.parameters
        if job.datasets:
            order["datasets"] = [use.model_dump(mode="json", exclude_defaults=True) for use in job.datasets]
        return order

    def _common(self, job_id: str, task: str) -> OrderJson:
        order = JobOrder(
            job=job_id,
            experiment=self.experiment,
            task=task,
            tool=self.tool,
            user=self.user,
            project=self.request.project,
            permit=self.request.permit,
            purpose=self.request.purpose,
            deadlines=_deadlines(self.windows[task]),
            gang=task in self.gang,
        )
        common: OrderJson = order.model_dump(mode="json", exclude_defaults=True)  # type: ignore[assignment]
        return common


def _deadlines(window: Window) -> Deadlines:
    return Deadlines(
        start_by=moment(window.start_by), end_by=moment(window.end_by), release_by=moment(window.release_by)
    )


def complete(
    draft: OrderJson, inputs: Iterable[FileRef], recipients: Mapping[str, dict[str, Any]], now: float
) -> OrderJson:
    """The order with what follows from the experiment's other jobs: its files, and the keys it encrypts to."""
    named = [ref.model_dump(mode="json", exclude_defaults=True) for ref in inputs]
    return _held({**draft, "inputs": named, "recipients": dict(recipients)}, now, HOLD_SECONDS)


def stamp(order: OrderJson, hosts: dict[str, list[str]], now: float, hold: float) -> OrderJson:
    """The order as it is sent: with the experiment's hosts by task.

    A gang's job may ``hold`` for the others so many seconds from when it is prepared (hosts of an earlier release: from
    now, not from when it was written).
    """
    return _held({**order, "hosts": hosts}, now, hold)


def _held(order: OrderJson, now: float, hold: float) -> OrderJson:
    if not order.get("gang"):
        return order
    until = (moment(now) + timedelta(seconds=hold)).isoformat()
    return {**order, "deadlines": {**order["deadlines"], "hold_until": until, "hold_seconds": hold}}


def expires(order: OrderJson) -> float:
    """When the order counts no more: its last deadline, in seconds since 1970."""
    return datetime.fromisoformat(order["deadlines"]["release_by"]).timestamp()

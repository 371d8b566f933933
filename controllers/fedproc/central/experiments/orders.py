"""A job's order: drafted with its experiment, completed when the job may go, stamped when it is published.

Between these steps it rests in the database as JSON: what is the job's own in its row, what it has in common with
others in a :class:`Part` that is kept once. It is not read into :class:`JobOrder` on its way, so that what a newer
program has written into it reaches the host; its parts are named here as they are there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NotRequired, TypedDict, cast

from fedproc.central.db.repositories.shared import Part, part
from fedproc.central.experiments.granted import Granted
from fedproc.central.experiments.placement import Placed, Window
from fedproc.contract.api.experiments import ExperimentRequest
from fedproc.contract.times import moment
from fedproc.contract.tool.tool import ToolRef
from fedproc.contract.wire.messages import Deadlines, FileRef, JobOrder, User

_LISTS = ("inputs", "recipients", "masks", "peers", "artefacts")
"""what a message may have much of, and in common with others"""
_SMALL = 1024
"""bytes of JSON that are not worth a row of their own"""


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
    told_by: NotRequired[dict[str, str]]
    datasets: NotRequired[list[dict[str, Any]]]
    selections: NotRequired[dict[str, dict[str, object]]]
    grants: NotRequired[list[dict[str, Any]]]
    parameters: NotRequired[dict[str, Any]]
    inputs: NotRequired[list[dict[str, Any]]]
    deadlines: DeadlinesJson
    gang: NotRequired[bool]
    ahead: NotRequired[bool]
    hosts: NotRequired[dict[str, list[str]]]
    recipients: NotRequired[dict[str, dict[str, Any]]]
    masks: NotRequired[dict[str, dict[str, Any]]]
    shown: NotRequired[list[str]]
    encrypt_to: NotRequired[str]


@dataclass
class Drafts:
    """Drafts the orders of one experiment; what those of a task have in common is made once.

    ``request`` has the defaults of its parameters filled in. ``told_by``: whose word its terms are, by all its grants
    (:func:`fedproc.central.experiments.granted.told_by`). ``masks``: by task, who masks with whom.
    ``shown``: by task, the names of data elsewhere (:mod:`fedproc.central.experiments.shown`).
    """

    experiment: str
    tool: ToolRef
    user: User
    request: ExperimentRequest
    windows: Mapping[str, Window]
    gang: frozenset[str]
    granted: Granted = field(default_factory=Granted)
    told_by: Mapping[str, str] = field(default_factory=dict)
    masks: Mapping[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    shown: Mapping[str, list[str]] = field(default_factory=dict)
    parts: dict[str, Part] = field(default_factory=dict)
    """by task: what is common to the orders drafted so far"""

    def draft(self, job_id: str, job: Placed) -> OrderJson:
        """What is one job's own of its order, as far as it is known from the request; the rest is in :attr:`parts`."""
        if job.task.name not in self.parts:
            self.parts[job.task.name] = part(self.experiment, cast(dict[str, Any], self._common(job_id, job.task.name)))
        order = cast(OrderJson, {"job": job_id})
        if own := self.request.host_parameters.get(job.host):
            order["parameters"] = {name: job.parameters[name] for name in own}
        if job.datasets:
            order["datasets"] = [use.model_dump(mode="json", exclude_defaults=True) for use in job.datasets]
        if job.selections:
            order["selections"] = {name: selection.as_json() for name, selection in job.selections.items()}
        if grants := self.granted.of_job(job):
            order["grants"] = [grant.model_dump(mode="json", exclude_defaults=True) for grant in grants]
            order |= cast(OrderJson, {name: value for name, value in self.granted.terms_of_job(job).items() if value})
            if told_by := {**self.told_by, **self.granted.told_by(job)}:
                order["told_by"] = told_by
        return order

    def _common(self, any_job: str, task: str) -> OrderJson:
        order = JobOrder(
            job=any_job,
            experiment=self.experiment,
            task=task,
            tool=self.tool,
            user=self.user,
            project=self.request.project,
            permit=self.request.permit,
            purpose=self.request.purpose,
            told_by=dict(self.told_by),
            encrypt_to=self.request.encrypt_to,
            deadlines=_deadlines(self.windows[task]),
            gang=task in self.gang,
        )
        common = order.model_dump(mode="json", exclude_defaults=True, exclude={"job"})
        if self.request.parameters:
            common["parameters"] = self.request.parameters
        if masks := self.masks.get(task):
            common["masks"] = masks
        if shown := self.shown.get(task):
            common["shown"] = shown
        return cast(OrderJson, common)


def _deadlines(window: Window) -> Deadlines:
    return Deadlines(
        start_by=moment(window.start_by), end_by=moment(window.end_by), release_by=moment(window.release_by)
    )


def complete(draft: OrderJson, inputs: Iterable[FileRef], recipients: Mapping[str, dict[str, Any]]) -> OrderJson:
    """The order with what follows from the experiment's other jobs: its files, and the keys it encrypts to."""
    named = [ref.model_dump(mode="json", exclude_defaults=True) for ref in inputs]
    return {**draft, "inputs": named, "recipients": dict(recipients)}


def split(experiment: str, message: Mapping[str, Any]) -> tuple[dict[str, Any], list[Part]]:
    """What is a message's own, and its long lists as parts: others of the experiment may have the same."""
    own, parts = dict(message), list[Part]()
    for name in _LISTS:
        if own.get(name) and (found := part(experiment, {name: own[name]})).size > _SMALL:
            del own[name]
            parts.append(found)
    return own, parts


def whole(own: Mapping[str, Any], parts: Iterable[Part]) -> dict[str, Any]:
    """A message of its parts, and of what is its own beside them; of parameters the own ones count."""
    message: dict[str, Any] = {}
    for value in (*(one.value for one in parts), own):
        parameters = {**message.get("parameters", {}), **value.get("parameters", {})}
        message |= value
        if parameters:
            message["parameters"] = parameters
    return message


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

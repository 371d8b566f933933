"""What an experiment would come to at each of its hosts, by their heartbeats and their policies. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, get_args

from pydantic import ValidationError
from sqlalchemy import Row

from fedproc.central.experiments.granted import Granted, by_grants, told_by
from fedproc.central.experiments.placement import Plan
from fedproc.central.experiments.selecting import Misfit, misfits
from fedproc.contract.api.dry_run import BudgetForecast, Check, DryRun, HostForecast, OutputForecast
from fedproc.contract.api.grants import DatasetAnswer
from fedproc.contract.tool.leaving import DEFAULT_RELEASE, Leaving, Release, leaving
from fedproc.contract.tool.privacy import Spent, unmet
from fedproc.contract.tool.task import Disclosure, OutputDecl, Task
from fedproc.contract.tool.tool import Tool
from fedproc.contract.wire.datasets import ImagingSummary
from fedproc.contract.wire.releasing import AdmittedTool, BudgetLeft, Left, ReleasePolicy, scopes_of

_DEFAULT = ReleasePolicy(release={str(each): word for each, word in DEFAULT_RELEASE.items()})


@dataclass(frozen=True)
class Rehearsal:
    """A plan, the tool's version, what is known of its hosts, and experiments and bytes that are left to its user.

    ``offered``: host, then the versions of its datasets by id. ``images``: by host and dataset what those are of which
    something is selected, where their host tells it.
    """

    plan: Plan
    tool: Tool
    digest: str
    hosts: Mapping[str, Row[Any]]
    offered: Mapping[str, Mapping[str, str]]
    left: tuple[int, int, int]
    images: Mapping[tuple[str, str], ImagingSummary] = field(default_factory=dict)
    project_granted: bool = False
    """the project is a provider's word, and not the user's"""


def forecast(found: Rehearsal, granted: Granted, user: str, heard_since: float) -> DryRun:
    """The answer. A host that was heard of last before ``heard_since`` (since 1970) counts as silent."""
    request, by_provider = by_grants(granted, found.plan.request, found.plan), told_by(granted, found.plan)
    found = replace(found, plan=replace(found.plan, request=request), project_granted="project" in by_provider)
    hosts = [_Host(found, host, granted, user, heard_since).forecast() for host in found.hosts]
    grants = [answer.answer == "granted" for host in hosts for answer in host.grants]
    stands = [check.stands != "fails" for host in hosts for check in host.checks]
    return DryRun(
        tool=found.tool.id,
        version=found.tool.version,
        digest=found.digest,
        would_run=all((*grants, *stands)),
        project=request.project,
        permit=request.permit,
        purpose=request.purpose,
        told_by=by_provider,
        experiments_left=found.left[0],
        stored_left=found.left[1],
        files_left=found.left[2],
        hosts=hosts,
    )


class _Host:
    def __init__(self, found: Rehearsal, host: str, granted: Granted, user: str, heard_since: float) -> None:
        self._found = found
        self._id = host
        self._row = found.hosts[host]
        self._granted = granted
        self._user = user
        self._silent = self._row.heard is None or self._row.heard < heard_since
        self._beat: Mapping[str, Any] = self._row.heartbeat or {}
        self._jobs = [job for job in found.plan.jobs if job.host == host]
        self._tasks = [job.task for job in self._jobs]

    def forecast(self) -> HostForecast:
        policy = self._policy()
        return HostForecast(
            host=self._id,
            tasks=[task.name for task in self._tasks],
            datasets=self._datasets(),
            checks=[self._online(), self._accepting(), self._admitted(), self._ready(), self._data()],
            grants=[*self._grants()],
            policy="default" if policy is None else "own",
            floor=None if policy is None else policy.floor,
            outputs=[self._output(task, output) for task in self._tasks for output in task.outputs],
            budgets=[*self._budgets()],
        )

    # -- what a job needs there ------------------------------------------------------------------

    def _online(self) -> Check:
        if self._silent:
            return Check(what="online", stands="waits", text="was not heard of for three heartbeats; its jobs wait")
        return Check(what="online", stands="ok", text="is heard of")

    def _accepting(self) -> Check:
        condition, text = self._beat.get("condition"), str(self._beat.get("condition_text", ""))
        if self._row.drained is not None:
            reason = f"takes no new jobs: the federation's operator drains it ({self._row.drained})"
            return Check(what="accepting", stands="waits", text=reason)
        if condition == "stopped":
            return Check(what="accepting", stands="fails", text=text or "its site has stopped all work on it")
        if condition == "holding":
            return Check(what="accepting", stands="waits", text=text or "it starts nothing now")
        stands = "ok" if condition == "accepting" else "unknown"
        return Check(what="accepting", stands=stands, text="takes jobs" if condition else "has not said yet")

    def _line(self) -> AdmittedTool | None:
        """The line of its allow-list that admits the version; of several the exact one."""
        lines = [_admitted(entry) for entry in self._beat.get("tools", ())]
        of_tool = [line for line in lines if line is not None and line.id == self._found.tool.id]
        return next((line for line in of_tool if line.digest in (None, self._found.digest)), None)

    def _admitted(self) -> Check:
        if not self._beat:
            return Check(what="tool", stands="unknown", text="has not said yet which tools it admits")
        if (line := self._line()) is None:
            text = "does not admit this version; ask its site to put it on the allow-list"
            return Check(what="tool", stands="fails", text=text)
        if missing := next(self._unmet(line), None):
            return Check(what="tool", stands="fails", text=missing)
        return Check(what="tool", stands="ok", text="admits the tool, as far as its allow-list is known here")

    def _unmet(self, line: AdmittedTool) -> Iterator[str]:
        """What the line demands for the protection of persons, and the experiment's parameters do not ask for."""
        schema, most = self._found.tool.parameters, line.differential_privacy
        spent = None if most is None else Spent(most.get("epsilon", 0.0), most.get("delta", 0.0))
        for job in self._jobs:
            if text := unmet(schema, job.parameters, job.task, secure_sums=line.secure_sums, most=spent):
                yield text

    def _ready(self) -> Check:
        digest = self._found.digest
        there = {task for entry in self._beat.get("tools_ready", ()) if entry.get("digest") == digest
                 for task in entry.get("tasks", ())}  # fmt: skip
        if missing := [task.name for task in self._tasks if task.name not in there]:
            text = f"fetches or builds what {', '.join(missing)} runs in before it starts"
            return Check(what="runtime", stands="waits", text=text)
        return Check(what="runtime", stands="ok", text="has what it runs in")

    def _data(self) -> Check:
        offered = self._found.offered.get(self._id, {})
        uses = {use.id: use.version for job in self._jobs for use in job.datasets}
        if gone := [name for name, version in uses.items() if offered.get(name) != version]:
            return Check(what="data", stands="fails", text=f"does not offer {', '.join(gone)} as it was chosen")
        if amiss := sorted(self._misfits(), key=lambda each: not each[1].certain):
            text = "; ".join(f"{name} {misfit.text}" for name, misfit in amiss)
            return Check(what="data", stands="fails" if amiss[0][1].certain else "unknown", text=text)
        return Check(what="data", stands="ok", text=f"offers {', '.join(uses)}" if uses else "needs no dataset")

    def _misfits(self) -> Iterator[tuple[str, Misfit]]:
        """What of the selections fits nobody whom the host counts, by dataset."""
        selected = {name: chosen for job in self._jobs for name, chosen in job.selections.items()}
        for name, selection in selected.items():
            if (images := self._found.images.get((self._id, name))) is not None:
                yield from ((name, misfit) for misfit in misfits(selection, images))

    def _datasets(self) -> list[str]:
        return list(dict.fromkeys(f"{self._id}:{use.id}" for job in self._jobs for use in job.datasets))

    def _grants(self) -> Iterator[DatasetAnswer]:
        for name in self._datasets():
            if (finding := self._granted.findings.get(name)) is not None:
                yield DatasetAnswer(
                    dataset=name, provider=finding.provider, answer=finding.answer, reason=finding.reason
                )

    # -- what would leave ------------------------------------------------------------------------

    def _policy(self) -> ReleasePolicy | None:
        return None if (published := self._beat.get("policy")) is None else ReleasePolicy.model_validate(published)

    def _output(self, task: Task, output: OutputDecl) -> OutputForecast:
        found = self._leaving(task, output)
        return OutputForecast(
            task=task.name, output=output.name, disclosure=output.disclosure, outcome=found.outcome,
            because=[*found.because],
        )  # fmt: skip

    def _leaving(self, task: Task, output: OutputDecl) -> Leaving:
        policy, line = self._policy(), self._line()
        known = policy or _DEFAULT
        by_class = {**known.release, **(line.release if policy and line else {})}
        waived = policy is not None and line is not None and output.disclosure in line.without_review
        return leaving(task, output, _word(by_class, output.disclosure), waived=waived)

    def _budgets(self) -> Iterator[BudgetForecast]:
        published = self._beat.get("budgets")
        spent = {(entry.scope, entry.dataset): entry.left for entry in map(BudgetLeft.model_validate, published or ())}
        for job in self._jobs if published is not None else ():
            project = self._found.plan.request.project
            granted = [project] if project is not None and self._found.project_granted else []
            scopes = scopes_of(self._user, granted, project)
            for use in job.datasets:
                least = max((spent.get((scope, use.id), "left") for scope in scopes), key=get_args(Left).index)
                yield BudgetForecast(dataset=f"{self._id}:{use.id}", left=least)


def _admitted(entry: Any) -> AdmittedTool | None:
    try:
        return AdmittedTool.model_validate(entry)
    except ValidationError:
        return None


def _word(by_class: Mapping[str, str], disclosure: Disclosure) -> Release:
    """One that is not known here is another way to have people decide."""
    word = by_class.get(disclosure, "never")
    return next((known for known in get_args(Release) if known == word), "manual")

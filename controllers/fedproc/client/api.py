"""The central API from a program: one method per call, contract models in and out."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import httpx
from pydantic import ValidationError

from fedproc.client.files import FileCalls
from fedproc.client.transport import ApiError, at, not_ours, parsed
from fedproc.common.errors import InvalidInputError, UnavailableError
from fedproc.common.http import problem_of
from fedproc.common.retry import Backoff
from fedproc.common.text import lines
from fedproc.contract.api.dry_run import DryRun
from fedproc.contract.api.enrolments import EnrolmentCode, EnrolmentView, NewEnrolment
from fedproc.contract.api.experiments import (
    EventView,
    ExperimentRequest,
    ExperimentView,
    LogLines,
    Logs,
    Page,
    Report,
)
from fedproc.contract.api.files import FileView
from fedproc.contract.api.grants import ResearcherGrant
from fedproc.contract.api.hosts import DatasetDetail, DatasetView, HostEnrolment, HostReportView, HostView
from fedproc.contract.api.operations import DeadLetter, DeadLetterPage, Health
from fedproc.contract.api.retention import DeletedExperiment, ErasedUser, StorageView
from fedproc.contract.api.submissions import SubmissionDetail, SubmissionView
from fedproc.contract.api.tools import TaskView, ToolRecalled, ToolSummary, ToolView
from fedproc.contract.ids import DATASET_PATTERN

_LONGEST_PAUSE = 25.0
_RESULTS_AT_ONCE = 1_000
_DATASETS_AT_ONCE = 1_000
_CUTS = 8
"""after as many in a row, without an event between them, an event stream is given up"""

_ERASED = ("experiments", "files", "bytes", "audit_entries")


class Client(FileCalls):
    """Signs in with a password if it has one (POST /token), or uses the token that it is given."""

    # -- what there is ---------------------------------------------------------------------------

    def hosts(self, *, everyone: bool = False) -> list[HostView]:
        return self._list(HostView, "/hosts/", params={"all": "true"} if everyone else None)

    def host_reports(self) -> list[HostReportView]:
        return self._list(HostReportView, "/hosts/reports")

    def host(self, host: str) -> HostView:
        return self._one(HostView, "GET", at("hosts", host))

    def enrol(self, host: str, enrolment: HostEnrolment) -> HostView:
        return self._one(HostView, "PUT", at("hosts", host), json=enrolment.model_dump(mode="json"))

    def revoke(self, host: str, reason: str) -> HostView:
        return self._one(HostView, "POST", at("hosts", host, "revocation"), json={"reason": reason})

    def drain(self, host: str, reason: str) -> HostView:
        return self._one(HostView, "POST", at("hosts", host, "drain"), json={"reason": reason})

    def resume(self, host: str) -> HostView:
        return self._one(HostView, "POST", at("hosts", host, "resume"))

    def recall(self, tool: str, version: str, reason: str) -> ToolRecalled:
        return self._one(ToolRecalled, "POST", at("tools", tool, "recall"), json={"version": version, "reason": reason})

    def reset_witness(self, host: str, reason: str) -> HostView:
        return self._one(HostView, "POST", at("hosts", host, "witness", "reset"), json={"reason": reason})

    def offer(self, new: NewEnrolment) -> EnrolmentCode:
        return self._one(EnrolmentCode, "POST", "/enrolments", json=new.model_dump(mode="json"))

    def enrolments(self) -> list[EnrolmentView]:
        return self._list(EnrolmentView, "/enrolments")

    def enrolment(self, host: str) -> EnrolmentView:
        return self._one(EnrolmentView, "GET", at("enrolments", host))

    def confirm(self, host: str, certificate: str) -> EnrolmentView:
        body = {"certificate": certificate}
        return self._one(EnrolmentView, "POST", at("enrolments", host, "certificate"), json=body)

    def reject(self, host: str, reason: str) -> EnrolmentView:
        return self._one(EnrolmentView, "POST", at("enrolments", host, "refusal"), json={"reason": reason})

    def health(self) -> Health:
        """The centre's health; a degraded one is an answer too."""
        answer = self._raw("GET", "/hosts/health/", headers=self._authorization())
        return parsed(Health, answer)

    def tools(self) -> list[ToolSummary]:
        return self._list(ToolSummary, "/tools")

    def tool(self, tool: str, version: str | None = None) -> ToolView:
        """One version; the newest unless it is given."""
        return self._one(ToolView, "GET", at("tools", tool), params={"version": version} if version else None)

    def manifest(self, tool: str, version: str) -> str:
        """The signed manifest of one version."""
        return self._send("GET", at("tools", tool, "manifest"), params={"version": version}).text

    def bundle(self, tool: str, version: str) -> bytes:
        """The packed source of one version."""
        return self._send("GET", at("tools", tool, "bundle"), params={"version": version}).content

    def tasks(self, tool: str | None = None, version: str | None = None) -> list[TaskView]:
        """Those of one version of a tool, or of the newest of each."""
        given = {"tool": tool} | ({} if version is None else {"version": version}) if tool else {}
        return self._list(TaskView, "/tools/tasks", params=given)

    def add_tool(self, manifest: str, bundle: bytes) -> ToolView:
        return self._one(ToolView, "POST", "/tools", data={"manifest": manifest}, files=_packed(bundle))

    def submit_tool(self, manifest: str, bundle: bytes, note: str = "") -> SubmissionView:
        files = _packed(bundle)
        return self._one(SubmissionView, "POST", "/submissions", data={"manifest": manifest, "note": note}, files=files)

    def submissions(self) -> list[SubmissionView]:
        return self._list(SubmissionView, "/submissions")

    def submission(self, submission: str) -> SubmissionDetail:
        return self._one(SubmissionDetail, "GET", at("submissions", submission))

    def submitted_source(self, submission: str) -> bytes:
        return self._send("GET", at("submissions", submission, "bundle")).content

    def withdraw_submission(self, submission: str) -> None:
        self._send("DELETE", at("submissions", submission))

    def decide_submission(self, submission: str, *, approve: bool, text: str) -> SubmissionView:
        body = {"approve": approve, "text": text}
        return self._one(SubmissionView, "POST", at("submissions", submission, "decision"), json=body)

    def datasets(self, **filters: str | Sequence[str] | None) -> list[DatasetView]:
        """All that the hosts offer, or those that all ``filters`` fit (:data:`FILTERS`), fetched a page at a time.

        Raises :class:`UnavailableError` where the centre does not know a filter yet.
        """
        wanted = {name: value for name, value in filters.items() if value}
        query: str | None = str(httpx.QueryParams({**wanted, "limit": _DATASETS_AT_ONCE}))
        found: list[DatasetView] = []
        while query is not None:
            answer = self._send("GET", f"/datasets?{query}")
            _check_filters(answer, wanted)
            found += parsed(list[DatasetView], answer)
            query = answer.links["next"]["url"].partition("?")[2] if "next" in answer.links else None
        return found

    def named_datasets(self, name: str) -> list[str]:
        """``HOST:id`` itself, or those of an entry in a catalogue; :class:`InvalidInputError` if it has none."""
        if re.fullmatch(DATASET_PATTERN, name) or ":" not in name:
            return [name]
        found = [entry.id for entry in self.datasets(catalogue=name)]
        if not found:
            raise InvalidInputError(f"no host offers a dataset of {name}; fedproc data lists what there is")
        return found

    def dataset(self, dataset: str) -> DatasetDetail:
        """One dataset (``HOST:id``) with its columns."""
        return self._one(DatasetDetail, "GET", at("datasets", dataset))

    def grant(self, dataset: str) -> ResearcherGrant:
        """What the caller's own grants of a dataset say. Raises :class:`ApiError` 404 also at a centre of before."""
        return self._one(ResearcherGrant, "GET", at("datasets", dataset, "grant"))

    # -- experiments -----------------------------------------------------------------------------

    def run(self, request: ExperimentRequest, *, key: str | None = None) -> ExperimentView:
        headers = {"Idempotency-Key": key} if key else {}
        body = request.model_dump(mode="json", exclude_defaults=True)  # an API of before refuses keys it does not know
        return self._one(ExperimentView, "POST", "/experiments", json=body, headers=headers)

    def dry_run(self, request: ExperimentRequest) -> DryRun:
        """What it would come to. Raises :class:`UnavailableError` for a centre of before, which cannot say."""
        body = request.model_dump(mode="json", exclude_defaults=True)
        try:
            return self._one(DryRun, "POST", "/experiments/dry-run", json=body)
        except ApiError as error:
            if error.status in (404, 405):
                raise UnavailableError("this centre is of a release that makes no dry runs") from error
            raise

    def experiment(self, experiment: str) -> ExperimentView:
        return self._one(ExperimentView, "GET", at("experiments", experiment))

    def experiments(self, **query: Any) -> Page:
        params = {name: value for name, value in query.items() if value is not None}
        return self._one(Page, "GET", "/experiments", params=params)

    def cancel(self, experiment: str) -> ExperimentView:
        return self._one(ExperimentView, "POST", at("experiments", experiment, "cancel"))

    def start(self, experiment: str) -> ExperimentView:
        """Start one that was prepared ahead."""
        return self._one(ExperimentView, "POST", at("experiments", experiment, "start"))

    def lost(self, experiment: str, reason: str, jobs: Sequence[str] = ()) -> ExperimentView:
        """For operators: end its open jobs, or these alone, without their hosts."""
        body = {"reason": reason, "jobs": list(jobs)}
        return self._one(ExperimentView, "POST", at("experiments", experiment, "lost"), json=body)

    def delete_experiment(self, experiment: str) -> DeletedExperiment:
        """An ended one, with all that belongs to it."""
        return self._one(DeletedExperiment, "DELETE", at("experiments", experiment))

    def results(self, experiment: str) -> list[FileView]:
        """All that have come so far, fetched a page at a time."""
        found: list[FileView] = []
        query = f"limit={_RESULTS_AT_ONCE}"
        while True:
            answer = self._send("GET", f"{at('experiments', experiment, 'results')}?{query}")
            found += parsed(list[FileView], answer)
            if "next" not in answer.links:
                return found
            query = answer.links["next"]["url"].partition("?")[2]

    def report(self, experiment: str) -> Report:
        return self._one(Report, "GET", at("experiments", experiment, "report"))

    def crate(self, experiment: str) -> bytes:
        """The record of an experiment as a Five Safes RO-Crate, a zip."""
        answer = self._send("GET", at("experiments", experiment, "crate"))
        if not answer.headers.get("content-type", "").startswith("application/zip"):
            raise not_ours(answer, "a zip was asked for")
        return answer.content

    def logs(self, experiment: str) -> list[LogLines]:
        """All log lines that the hosts let out so far."""
        found: list[LogLines] = []
        cursor: int | None = None
        while True:
            params = {} if cursor is None else {"cursor": cursor}
            page = self._one(Logs, "GET", at("experiments", experiment, "logs"), params=params)
            found += page.items
            if page.next is None:
                return found
            cursor = page.next

    def events(self, experiment: str, after: int = 0) -> Iterator[EventView]:
        """Every event of the experiment, live, until it has ended; a cut stream is taken up where it was cut."""
        backoff, cut = Backoff(0.2, _LONGEST_PAUSE), 0
        while True:
            try:
                for event in self._stream(experiment, after):
                    after, cut = event.id, 0
                    backoff.reset()
                    yield event
            except httpx.TransportError as error:
                cut += 1
                if cut == _CUTS:
                    raise UnavailableError(f"the event stream of {self.url} does not come back: {error}") from error
                time.sleep(backoff.pause())
            else:
                return

    def _stream(self, experiment: str, after: int) -> Iterator[EventView]:
        headers = {**self._authorization(), "Accept": "text/event-stream"}
        if after:
            headers["Last-Event-ID"] = str(after)
        url = self.url + at("experiments", experiment, "events")
        with self._http.stream("GET", url, headers=headers, timeout=httpx.Timeout(30, read=60)) as answer:
            if answer.status_code != 200:
                answer.read()
                raise ApiError(answer.status_code, problem_of(answer))
            if not answer.headers.get("content-type", "").startswith("text/event-stream"):
                raise not_ours(answer, "a stream of events was asked for")
            for line in lines(answer.iter_bytes()):
                if line.startswith(b"data:"):
                    yield _event(answer, line[5:].strip())

    def dead_letters(self) -> list[DeadLetter]:
        """The latest messages that could not be read (operators)."""
        return self._one(DeadLetterPage, "GET", "/dead-letters").items

    def storage(self) -> StorageView:
        """What the centre keeps (operators)."""
        return self._one(StorageView, "GET", "/storage")

    def erase_user(self, subject: str, usernames: Sequence[str] = ()) -> ErasedUser:
        """Erase a person (operators), in as many calls as it takes; all of them together."""
        total = ErasedUser(more=True)
        while total.more:
            body = {"subject": subject, "usernames": list(usernames)}
            found = self._one(ErasedUser, "POST", "/users/erasure", json=body)
            counts = {name: getattr(total, name) + getattr(found, name) for name in _ERASED}
            total = found.model_copy(update=counts)
        return total


def _check_filters(answer: httpx.Response, wanted: Mapping[str, object]) -> None:
    known = {"host", *(name.strip() for name in answer.headers.get("dataset-filters", "").split(","))}
    if unknown := sorted(wanted.keys() - known):
        raise UnavailableError(f"this centre does not find datasets by {', '.join(unknown)} yet: leave it out")


def _event(answer: httpx.Response, data: bytes) -> EventView:
    try:
        return EventView.model_validate_json(data)
    except ValidationError as error:
        raise not_ours(answer, "an event that is none came") from error


def _packed(bundle: bytes) -> dict[str, tuple[str, bytes, str]]:
    return {"bundle": ("bundle.tar.gz", bundle, "application/gzip")}

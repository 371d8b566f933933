"""``/hosts`` and ``/data``: hosts, what they offer, and what they are asked."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import AwareDatetime, Field

from fedproc.contract.api.base import Line, Request, View, shown
from fedproc.contract.api.experiments import ExperimentView
from fedproc.contract.ids import DatasetRef, HostId, JobId
from fedproc.contract.plain import PlainJson
from fedproc.contract.wire.datasets import DatasetColumn, ImagingSummary
from fedproc.contract.wire.logs import WitnessedLog
from fedproc.contract.wire.messages import Capacity, ReadyTool
from fedproc.contract.wire.open_jobs import OpenJob
from fedproc.contract.wire.releasing import AdmittedTool, ReleasePolicy

OPEN_JOBS = 40_000
"""of one host in one report: with them its body stays below the 4 MiB that the API takes"""


FILTERS = ("host", "modality", "body_part", "kind", "column", "text", "catalogue", "persons", "available", "id")
"""by which ``GET /datasets`` chooses; an API of before knows ``host`` alone, and passes over the others"""


class DatasetView(View):
    id: DatasetRef
    host: HostId
    version: str = Field(description="follows from its content")
    label: str = Field("", description="what its site calls this version")
    description: str = ""
    title: str = Field("", description="as it is cited, if its site gives one")
    creators: list[str] = Field([], description="who made it, if its site says so")
    files: int | None = None
    size: int | None = None
    catalogue: str | None = Field(None, description="the IRI of its entry in a catalogue outside, by which it is found")
    persons: int | None = Field(None, description="whose images it has, as its host rounded it")
    modality: list[str] = Field([], description="of its images; none that few persons have")
    body_part: list[str] = []
    kinds: list[str] | None = Field(
        None, description="what it holds: images, tables, files; none: its host says it not"
    )
    available: bool = True


class FilterValue(View):
    value: str
    datasets: int = Field(description="how many have it")


class DatasetFilters(View):
    """``GET /datasets/filters``: what datasets can be chosen by; of each the values that most of them have."""

    host: list[FilterValue] = []
    modality: list[FilterValue] = []
    body_part: list[FilterValue] = []


class DatasetDetail(DatasetView):
    """``GET /datasets/{dataset_id}``: the columns of its tables too, as far as its description says them."""

    columns: list[DatasetColumn] = []
    complete: bool = Field(True, description="false: the host has not sent all its columns yet")
    imaging: ImagingSummary | None = Field(None, description="what its images are, in numbers that the host rounded")


class HostView(View):
    id: HostId
    site: str = ""
    roles: list[Literal["data", "compute", "aggregator"]]
    location: str = ""
    active: bool
    drained: str | None = Field(
        None, description="why the operator lets no new job go there; jobs that are there go on"
    )
    accepted: bool = Field(True, description="its acceptance has succeeded, or the operator vouches for it")
    alive: bool = Field(description="heard of within three heartbeats")
    reached_by: str = Field("", description="how it is reached: always by its own outgoing connection")
    condition: str = "unknown"
    condition_text: str = ""
    last_heartbeat: AwareDatetime | None = None
    software: str | None = None
    capacity: Capacity | None = None
    executors: list[str] = []
    tools: list[AdmittedTool] = []
    tools_ready: list[ReadyTool] = Field([], description="what the host need not fetch first, by task")
    policy: ReleasePolicy | None = Field(None, description="how it releases outputs, unless its site keeps that")
    datasets: list[str] = []
    open_jobs: int = 0
    check: dict[str, Any] | None = None
    log: WitnessedLog | None = Field(None, description="what the centre has witnessed of its transparency log")
    certificate_expires: AwareDatetime | None = Field(
        None, description="as the host's last whole check found its certificate"
    )


class HostReportView(View):
    """``GET /hosts/reports``, for operators: the last whole check of one host, as its program wrote it."""

    host: HostId
    site: str = ""
    time: AwareDatetime | None = Field(None, description="when the host sent it")
    report: dict[str, Any] | None = Field(None, description="None before the first one has come")


class HostEnrolment(Request):
    """``PUT /hosts/{host_id}`` by an operator or admin: who the host is, and the key that it made itself."""

    model_config = shown({"site": "Universitat de Barcelona", "roles": ["data", "compute"], "location": "Barcelona"})

    site: Line = Field("", max_length=200)
    roles: list[Literal["data", "compute", "aggregator"]] = Field(min_length=1, max_length=3)
    location: Line = Field("", max_length=200)
    public_key: PlainJson | None = Field(
        None, description="public JWK, P-256; unless given, that of the host's confirmed enrolment"
    )
    address: str | None = Field(
        None,
        pattern=r"^([A-Za-z0-9][A-Za-z0-9.-]{0,252}|\[[0-9A-Fa-f:.]{2,45}\]):[1-9][0-9]{0,4}$",
        description="host:port at which an aggregator's server tasks are dialled (the gateway, in production)",
    )
    domain: str = Field("fedproc.internal", pattern=r"^[a-z0-9]([a-z0-9.-]{0,200}[a-z0-9])?$")
    active: bool = True
    accepted: bool | None = Field(
        None,
        description="false: researchers' jobs are not placed there before its acceptance has succeeded; true: the "
        "operator vouches for it; unless given, as it was, and true for a new host",
    )


class AcceptanceView(View):
    """``/hosts/{host_id}/acceptance``: a host's newest acceptance experiment, and what its job found."""

    host: HostId
    accepted: bool
    experiment: ExperimentView | None = None
    report: dict[str, Any] | None = Field(None, description="report.json of the acceptance tool, once it is there")


class HostRevocation(Request):
    """``POST /hosts/{host_id}/revocation`` by an operator; the reason is kept in the audit."""

    model_config = shown({"reason": "its key was on a stolen disk"})

    reason: Line = Field(min_length=1, max_length=500)


class HostDraining(Request):
    """``POST /hosts/{host_id}/drain`` by an operator; researchers see the reason where their jobs wait."""

    model_config = shown({"reason": "its racks are moved on Thursday"})

    reason: Line = Field(min_length=1, max_length=500)


class OpenJobsReport(Request):
    """``POST /hosts/{host_id}/inventory``: all open jobs of a host, when its digest differs from the centre's."""

    epoch: str
    jobs: list[OpenJob] = Field(max_length=OPEN_JOBS)


class OpenJobsAnswer(View):
    """What the host does with each: go on, cancel it, or expect it again."""

    keep: list[JobId] = []
    cancel: list[JobId] = []
    resend: list[JobId] = []

"""``/hosts/health``, ``/audit``, ``/dead-letters``: what operators watch."""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime, Field

from fedproc.contract.api.base import View
from fedproc.contract.ids import HostId, JobId, Sha256


class Health(View):
    """``GET /hosts/health/``: 200 if all of the centre works, else 503; hosts are listed, not counted in."""

    status: Literal["ok", "degraded"]
    database: str
    broker: str
    issuer: str
    relay: str
    hosts: dict[str, str]


class AuditEntry(View):
    """One act through the API (``GET /audit``, operators)."""

    id: int
    time: AwareDatetime
    actor: str
    method: str
    path: str
    action: str
    target: str | None = None
    outcome: int = Field(description="HTTP status")
    detail: str | None = None


class AuditPage(View):
    """``GET /audit``, newest first. ``next`` is the ``cursor`` of what follows."""

    items: list[AuditEntry]
    next: int | None = None


class DeadLetter(View):
    """A message that could not be read (``GET /dead-letters``, operators)."""

    id: int
    time: AwareDatetime
    host: HostId | None = Field(None, description="who could not read it, or who sent it")
    queue: str
    job: JobId | None = None
    code: str
    reason: str
    sha256: Sha256
    size: int = Field(description="bytes that are kept; 0 until the letter itself has come")


class DeadLetterPage(View):
    """``GET /dead-letters``, newest first. ``next`` is the ``cursor`` of what follows."""

    items: list[DeadLetter]
    next: int | None = None

"""Grants: ``POST /hosts/{host_id}/jobs/{job_id}/grants``, whether a job's user may still use its datasets; and
``GET /datasets/{dataset_id}/grant``, what a researcher's own say."""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime, Field

from fedproc.contract.api.base import View
from fedproc.contract.ids import DatasetRef, JobId

GrantAnswer = Literal["granted", "not_granted", "not_asked", "session_ended"]
"""``not_asked``: the provider could not be. ``session_ended``: nobody is asked any more in the user's name."""


class DatasetAnswer(View):
    """What one provider says of one dataset, now."""

    dataset: DatasetRef
    provider: str
    answer: GrantAnswer
    reason: str = ""


class JobGrants(View):
    """``answer`` is of the job as a whole: granted only if all of its datasets are.

    ``token`` is the user's for this host alone, for five minutes at most, where the issuer exchanges tokens.
    """

    job: JobId
    answer: GrantAnswer
    reason: str = ""
    datasets: list[DatasetAnswer] = []
    token: str | None = Field(None, repr=False)
    token_expires: AwareDatetime | None = None


class GrantedTerms(View):
    """What one grant says, as far as its provider tells it."""

    project: str | None = None
    permit: str | None = None
    purpose: str | None = None
    until: AwareDatetime | None = None


class ResearcherGrant(View):
    """How a researcher stands to a dataset now. ``open``: nobody is asked about it.

    ``grants``: all that count. Where they tell a project, an experiment is for one of theirs.
    """

    dataset: DatasetRef
    answer: Literal["open", "granted", "not_granted", "not_asked"]
    provider: str | None = None
    reason: str = ""
    ask_at: str = Field("", description="where access is asked for: an address or a sentence")
    grants: list[GrantedTerms] = []

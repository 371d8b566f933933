"""``/submissions``: tools that their providers send in, and what those who approve tools say of them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import AwareDatetime, Field

from fedproc.contract.api.base import Line, Request, View, shown

SUBMISSION_PATTERN = r"^s-[0-9a-v]{26}$"
SubmissionState = Literal["waits", "approved", "refused"]


class SubmissionView(View):
    """One version of a tool that waits for a decision, or has one."""

    id: str
    tool: str
    version: str
    digest: str = Field(description="of the manifest as it was sent; another one if images are built of it")
    name: str = ""
    note: str = ""
    provider: str = Field("", description="who sent it")
    created: AwareDatetime
    state: SubmissionState
    text: str = Field("", description="what was said with the decision")
    decided: AwareDatetime | None = None
    offered: bool = Field(description="this version is in the catalogue: approved, signed and published")
    findings: list[str] = Field([], description="what the check found, none of which keeps a tool from running")


class SubmissionDetail(SubmissionView):
    manifest: dict[str, Any] = Field(description="the tool's description, and its files with their hashes")


class SubmissionDecision(Request):
    """``POST /submissions/{submission_id}/decision`` by an operator; the provider sees the text."""

    model_config = shown({"approve": False, "text": "say in its description what leaves a host"})

    approve: bool
    text: Line = Field("", max_length=2000, description="needed to refuse")

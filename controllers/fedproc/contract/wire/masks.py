"""Who takes part in a masked sum: each order of it names them, so that each two hosts have one secret."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from fedproc.contract.ids import JobId


class Masked(BaseModel):
    """A host's part in a sum: its job, and its public key (JWK), with which the others agree on their masks."""

    model_config = ConfigDict(extra="ignore", frozen=True, defer_build=True)

    job: JobId
    key: dict[str, Any]

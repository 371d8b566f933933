"""What a host and the centre show each other of their transparency logs, so that each is the other's witness."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Step = Annotated[str, StringConstraints(max_length=44)]


class ShownLog(BaseModel):
    """A log's checkpoint (C2SP), its key, and the proof that it goes on from that of ``since`` entries (RFC 6962)."""

    model_config = ConfigDict(extra="ignore", frozen=True, defer_build=True)

    note: str = Field(max_length=2000)
    verifier: str = Field(max_length=400, description="NAME+ID+KEY, as C2SP writes it")
    since: int = Field(0, ge=0)
    proof: tuple[Step, ...] = Field((), max_length=128, description="hashes in base64")


class WitnessedLog(BaseModel):
    """What a witness keeps of a log: the last checkpoint that went on from those before it, and how it stands."""

    model_config = ConfigDict(extra="ignore", frozen=True, defer_build=True)

    verifier: str = ""
    note: str = ""
    at: float = Field(description="when it came, in seconds since 1970")
    assessment: str = Field("consistent", description="consistent, unproven, shrunk, forked or other_key")
    text: str = ""
    size: int | None = Field(None, description="entries")


class WitnessExchange(BaseModel):
    """``GET /hosts/{host_id}/witness``: the centre's log, for the host to witness, and what it has of the host's."""

    model_config = ConfigDict(extra="ignore", frozen=True, defer_build=True)

    centre: ShownLog
    witnessed: WitnessedLog | None = None

"""``/data/file`` and ``/uploads``: file entries and where their bytes go."""

from __future__ import annotations

from hashlib import sha256
from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, Field

from fedproc.contract.api.base import MediaType, Request, View, shown
from fedproc.contract.ids import ExperimentId, FileId, HostId, JobId, Name, Sha256, is_safe_path
from fedproc.contract.tool.task import Disclosure


class FileView(View):
    """A file entry. ``uri`` locates it in the API; the bytes are behind ``access`` or ``content``."""

    id: FileId
    uri: str
    path: str
    state: Literal["pending", "complete"]
    size: int | None = Field(None, description="bytes")
    received: int = Field(0, description="bytes that have arrived")
    sha256: Sha256 | None = None
    plain_sha256: Sha256 | None = Field(None, description="if it is encrypted to its user (Crypt4GH): before that")
    media_type: str
    owner: str
    experiment: ExperimentId | None = None
    job: JobId | None = None
    host: HostId | None = None
    task: str | None = None
    output: str | None = None
    disclosure: Disclosure | None = None
    created: AwareDatetime
    upload: str | None = Field(None, description="where the bytes go (tus 1.0.0), while pending")
    content: str | None = Field(None, description="where its owner gets the bytes, when complete")


class FilePage(View):
    """``GET /data/entries``: a part of one's own complete files, newest first; ``total`` and ``bytes`` are of all."""

    items: list[FileView]
    total: int
    bytes: int
    labels: dict[ExperimentId, str] = Field({}, description="of the experiments that they are of, where they have one")


class Access(View):
    """``GET /data/file/{file_id}/access/``: a URI that gives the bytes without a token until ``expires``."""

    uri: str
    expires: AwareDatetime
    sha256: Sha256
    size: int


def _safe(path: str) -> str:
    if not is_safe_path(path):
        raise ValueError("must be a relative path without . or .. segments, control characters or backslashes")
    return path


class NewFile(Request):
    """Body of ``PUT /data/file/{file_path}``."""

    model_config = shown({"size": 5, "sha256": sha256(b"model").hexdigest(), "media_type": "application/octet-stream"})

    size: int = Field(ge=0, le=2**53, description="bytes that will be sent")
    sha256: Sha256
    media_type: MediaType = "application/octet-stream"


class NewUpload(Request):
    """Body of ``POST /uploads``, by a host: one output of one of its jobs."""

    model_config = shown(
        {
            "job": "j-01jdj3k4m5n6p7q8r9s0t1v2u3",
            "output": "result",
            "path": "result.json",
            "size": 5,
            "sha256": sha256(b"model").hexdigest(),
            "media_type": "application/json",
        }
    )

    job: JobId
    output: Name
    path: Annotated[str, AfterValidator(_safe)]
    size: int = Field(ge=0, le=2**53, description="bytes")
    sha256: Sha256
    media_type: MediaType = "application/octet-stream"
    recipient: HostId | None = Field(None, description="for an artefact: the host to whose key it is encrypted")
    plain_sha256: Sha256 | None = Field(None, description="if it is encrypted to its user (Crypt4GH): before that")

"""What the host's log says, kind by kind. No word of a patient, no name of a person, no path, no text of a tool's."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from fedproc.contract.ids import DatasetId, Digest, ExperimentId, FileId, HostId, JobId, Name, Sha256, ToolId


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class HostEntry(_Part):
    """One act; ``kind`` names it in the log."""

    kind: ClassVar[str]

    def data(self) -> dict[str, Any]:
        """As the log keeps it; what is not known is left out."""
        return self.model_dump(mode="json", exclude_none=True, exclude_defaults=True)


class ToolUsed(_Part):
    id: ToolId
    version: str = ""
    digest: Digest


class DatasetUsed(_Part):
    id: DatasetId
    version: str | None = None


class FileLeaving(_Part):
    """One file that may leave, or may not, by its declared output; its path may be the tool's own words."""

    output: Name
    sha256: Sha256
    recipient: HostId | None = None


class RuleUsed(_Part):
    """A rule of the release as it was applied: which version of it, with which limits (SATRE 3.3.09)."""

    id: str
    version: str
    limits: dict[str, float | int | str] = {}


class _OfJob(HostEntry):
    job: JobId
    experiment: ExperimentId


class JobAccepted(_OfJob):
    """``user``, ``project`` and ``purpose`` as :class:`fedproc.common.tlog.pseudonyms.Pseudonyms` writes them.

    ``inputs`` counts the files that come from the centre. ``encrypt_to`` is the fingerprint of the key to which its
    results are encrypted (:func:`fedproc.contract.wire.crypt4gh.fingerprint`). ``told_by``: the provider whose word
    project, permit or purpose is; what is not there is the user's own.
    """

    kind: ClassVar[str] = "job.accepted"
    task: Name
    tool: ToolUsed
    datasets: tuple[DatasetUsed, ...] = ()
    inputs: int = 0
    user: str
    project: str | None = None
    purpose: str | None = None
    told_by: dict[str, str] = {}
    encrypt_to: Sha256 | None = None


class JobStarted(_OfJob):
    """``datasets`` with the versions that were laid out for it; ``streams``: what leaves while it runs."""

    kind: ClassVar[str] = "job.started"
    tool: ToolUsed
    datasets: tuple[DatasetUsed, ...] = ()
    executor: str
    streams: tuple[str, ...] = ()
    policy: Sha256 | None = None


class JobEnded(_OfJob):
    kind: ClassVar[str] = "job.ended"
    state: str
    code: str | None = None


class ReleaseReviewed(_OfJob):
    """What one person said about these files. ``reviewer``: a keyed hash of the local account."""

    kind: ClassVar[str] = "release.reviewed"
    reviewer: str
    decision: Literal["released", "refused"]
    files: tuple[FileLeaving, ...] = ()
    policy: Sha256 | None = None


class ReleaseDecided(_OfJob):
    """``by``: the site's policy, or a person there. ``policy``: the sha256 of its file, kept in ``policies/``.

    ``reviewers``: as :class:`ReleaseReviewed` names them. Of a part that leaves, what stays has an entry of its own.
    """

    kind: ClassVar[str] = "release.decided"
    decision: Literal["released", "refused"]
    by: str
    files: tuple[FileLeaving, ...] = ()
    code: str | None = None
    policy: Sha256 | None = None
    rules: tuple[RuleUsed, ...] = ()
    reviewers: tuple[str, ...] = ()


class OutputLeaving(_OfJob):
    """The bytes of one released file go to the centre now; ``sha256`` is that of what goes, encrypted if it is so."""

    kind: ClassVar[str] = "output.leaving"
    output: Name
    sha256: Sha256
    bytes: int
    recipient: HostId | None = None
    plain_sha256: Sha256 | None = None
    """of one that is encrypted to its user: the hash that the decision names"""
    encrypt_to: Sha256 | None = None
    """of such a one: the fingerprint of the user's key"""


class OutputUploaded(_OfJob):
    """The centre has all of it, as ``file``."""

    kind: ClassVar[str] = "output.uploaded"
    output: Name
    sha256: Sha256
    file: FileId


class ConnectionOpened(_OfJob):
    """With the task of a peer, up to ``budget`` bytes in each direction, and to what the tool declares."""

    kind: ClassVar[str] = "connection.opened"
    task: Name
    host: HostId
    budget: int
    sends: int | None = None
    receives: int | None = None
    rounds: int | None = None


class PolicyChanged(HostEntry):
    kind: ClassVar[str] = "policy.changed"
    policy: Sha256
    before: Sha256 | None = None


class ToolInstalled(HostEntry):
    kind: ClassVar[str] = "tool.installed"
    tool: ToolUsed


class HostStarted(HostEntry):
    """The orchestrator began, with this policy."""

    kind: ClassVar[str] = "host.started"
    host: HostId
    software: str
    executor: str
    epoch: str
    policy: Sha256 | None = None


class LogResumed(HostEntry):
    """The log could not be written since, and can again."""

    kind: ClassVar[str] = "log.resumed"
    since: str

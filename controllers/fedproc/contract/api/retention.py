"""``DELETE /experiments/{id}``, ``/users/erasure``, ``/storage``: what is deleted, and what is kept."""

from __future__ import annotations

from typing import Annotated

from pydantic import AwareDatetime, Field, StringConstraints

from fedproc.contract.api.base import Request, View
from fedproc.contract.ids import ExperimentId

Name = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]+$", max_length=255)]


class DeletedExperiment(View):
    """What an experiment had (``DELETE /experiments/{id}``); none of it is there any more."""

    id: ExperimentId
    jobs: int
    files: int
    bytes: int = Field(description="of its files together")


class UserErasure(Request):
    """Whose data is erased (``POST /users/erasure``, operators)."""

    subject: Name = Field(description="the sub of the person's tokens: owner of experiments, actor in the audit")
    usernames: list[Name] = Field([], max_length=20, description="names under which this person has signed in")


class ErasedUser(View):
    """What was erased. What is ``open`` stays: erase again when it has ended."""

    pseudonym: str | None = Field(None, description="what the audit calls the person now; none while there is more")
    experiments: int = 0
    files: int = Field(0, description="those of the experiments, and the person's own")
    bytes: int = Field(0, description="of these files together")
    audit_entries: int = Field(0, description="that named the person")
    open: list[ExperimentId] = Field([], description="experiments that have not ended yet, a hundred at most")
    more: bool = Field(False, description="whether the same call has to be made again: there was too much for one")


class KeptKind(View):
    """One kind of what the centre keeps."""

    kind: str
    rows: int = Field(description="where there are more than 100,000, about as many; SQLite counts to a million")
    bytes: int | None = Field(None, description="of its files, else of its rows; SQLite does not tell that")
    removed: int = Field(0, description="rows that retention has deleted so far")
    days: float | None = Field(None, description="for how long it is kept; none: for ever")


class StorageView(View):
    """What the centre keeps (``GET /storage``, operators), as it was counted when retention was last applied."""

    counted: AwareDatetime | None = None
    free: int = Field(description="bytes that are free where files are stored")
    kinds: list[KeptKind] = []

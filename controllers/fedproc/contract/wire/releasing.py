"""What a host tells the centre of how it releases outputs, for whoever asks before an experiment starts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from fedproc.contract.ids import DatasetId

Left = Literal["left", "nearly", "none"]
"""of a budget: coarse, since what others of a project had released is not for everybody"""
MOST_BUDGETS = 500
"""that one heartbeat names; of others the host says nothing"""
Scope = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]


class ReleasePolicy(BaseModel):
    """The word of a site's policy on each class of outputs (one that is not named never leaves), and its floor.

    Classes and words are text here, since a host of a later release may know others.
    """

    model_config = ConfigDict(extra="ignore", frozen=True, defer_build=True)

    release: dict[str, str] = Field({}, max_length=20)
    floor: int | None = Field(None, description="persons: the least behind a count that leaves")


class AdmittedTool(BaseModel):
    """A line of the site's allow-list; ``digest`` None admits every signed version."""

    model_config = ConfigDict(extra="ignore", frozen=True, defer_build=True)

    id: str
    digest: str | None = None
    release: dict[str, str] = Field(
        {}, max_length=20, description="classes of outputs that leave otherwise than the site's policy has it for all"
    )
    without_review: tuple[str, ...] = Field((), description="classes that leave though a rule would have a person look")
    secure_sums: bool = Field(False, description="only where numbers of persons leave masked")
    differential_privacy: dict[str, float] | None = Field(
        None, max_length=10, description="only with it, and no more spent than this epsilon and delta"
    )


class BudgetLeft(BaseModel):
    """A budget of statistics that is nearly or wholly spent; of all others there is enough left."""

    model_config = ConfigDict(extra="ignore", frozen=True, defer_build=True)

    scope: Scope = Field(description="whose: :func:`scope_of`")
    dataset: DatasetId
    left: Left


def scope_of(*, project: str | None = None, stated: str | None = None, user: str | None = None) -> str:
    """How host and centre name a project that a grant names, one that somebody states, or a user."""
    text = f"user\n{user}"
    if project is not None:
        text = f"project\n{project}"
    elif stated is not None:
        text = f"stated\n{stated}"
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def scopes_of(user: str, granted: Iterable[str], stated: str | None) -> tuple[str, ...]:
    """Whose releases a new one is held against, and on whose budget it goes.

    Those of each project that a grant names, else those of the project that the user states, which are others: whoever
    writes a project's name down spends nothing of it. And always the user's own, whichever projects he works in.
    """
    projects = [scope_of(project=each) for each in dict.fromkeys(granted)]
    if not projects and stated is not None:
        projects = [scope_of(stated=stated)]
    return (*projects, scope_of(user=user))

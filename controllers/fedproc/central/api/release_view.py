"""How far a release is, from what a job's host reported last."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Row

from fedproc.contract.api.experiments import ReleaseView
from fedproc.contract.states import TERMINAL, JobState
from fedproc.contract.wire.release import UNDER_REVIEW, ReleaseStage


def release_view(row: Row[Any], snapshot: Mapping[str, Any]) -> ReleaseView | None:
    """As its host says; of a host of the release before, that it is under review."""
    reported = snapshot.get("release")
    if reported is not None:
        stage = ReleaseStage.model_validate(reported)
    elif row.state == JobState.awaiting_release:
        stage = ReleaseStage(stage=UNDER_REVIEW, since=snapshot.get("times", {}).get(row.state))
    else:
        return None
    if stage.stage == UNDER_REVIEW and row.state in TERMINAL:
        return None
    return ReleaseView(text=stage.text, **stage.model_dump())

"""How far the release of a job's outputs is, as its host tells its researcher: a stage, and one text for each.

Which rule it was, who decided and why stays at the host.
"""

from __future__ import annotations

from datetime import datetime

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

UNDER_REVIEW, RELEASED, PARTLY_RELEASED, REFUSED, WITHHELD = (
    "under_review",
    "released",
    "partly_released",
    "refused",
    "withheld",
)

PARTLY_CODE = "release.partly"
"""reason code of a job that has succeeded, of whose outputs the site keeps some"""

TEXTS = {
    UNDER_REVIEW: "a person at the site looks at these outputs before they may leave",
    RELEASED: "the site released these outputs",
    PARTLY_RELEASED: "the site released a part of these outputs and keeps the rest; ask there why",
    REFUSED: "the site does not release these outputs; ask there why",
    WITHHELD: "the site did not decide about these outputs in time, and keeps them; ask there",
}
"""what a researcher reads, whatever was found"""


class ReleaseStage(BaseModel):
    """``stage`` is one of :data:`TEXTS`; a later release may know more of them. Times are of the centre's clock."""

    model_config = ConfigDict(extra="ignore", frozen=True, defer_build=True)

    stage: str = Field(max_length=40)
    since: AwareDatetime | None = Field(None, description="when the outputs began to wait for a person")
    until: AwareDatetime | None = Field(None, description="when they are withheld, if nobody has decided by then")
    decided: AwareDatetime | None = None

    @property
    def text(self) -> str:
        """The one text of the stage, with the dates of one that waits."""
        text = TEXTS.get(self.stage, self.stage)
        if self.stage != UNDER_REVIEW or self.since is None or self.until is None:
            return text
        return f"{text}: under review since {_date(self.since)}; none leaves if nobody decides by {_date(self.until)}"


def _date(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"

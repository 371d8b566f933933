"""Which images of a dataset an experiment is about: by their ids, or by what its index has (docs/datasets.md)."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

MOST_NAMED = 5000
"""patients, studies, series, or values of an attribute, in one selection"""

Value = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
Values = Annotated[tuple[Value, ...], Field(max_length=MOST_NAMED)]

LISTS = ("patient", "study", "series", "modality", "body_part", "manufacturer", "sex")
RANGES = ("age", "date")


class Selection(BaseModel):
    """Series for which all that is given holds: of a list one of the values, of a range both ends included.

    Unknown keys are refused, not ignored: a host that does not know one must not give a job more than was selected.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    patient: Values = Field((), description="PatientIDs")
    study: Values = Field((), description="StudyInstanceUIDs")
    series: Values = Field((), description="SeriesInstanceUIDs")
    modality: Values = ()
    body_part: Values = ()
    manufacturer: Values = Field((), description="in upper or lower case")
    sex: Values = ()
    age_from: float | None = Field(None, ge=0, le=150, description="years")
    age_to: float | None = Field(None, ge=0, le=150, description="years")
    date_from: date | None = Field(None, description="acquired; else of series, or study")
    date_to: date | None = None
    segmentations: bool = Field(True, description="segmentations that were made on selected series come with them")

    @model_validator(mode="after")
    def _selects(self) -> Self:
        if not any(getattr(self, name) for name in LISTS) and not any(
            getattr(self, f"{name}_{end}") is not None for name in RANGES for end in ("from", "to")
        ):
            raise ValueError("a selection selects by something; leave it out for the whole dataset")
        for name in RANGES:
            low, high = getattr(self, f"{name}_from"), getattr(self, f"{name}_to")
            if low is not None and high is not None and low > high:
                raise ValueError(f"{name}_from is after {name}_to")
        return self

    def as_json(self) -> dict[str, object]:
        """What is given of it alone."""
        return self.model_dump(mode="json", exclude_defaults=True)

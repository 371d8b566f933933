"""What a host says of its datasets: never a path, and of their columns no more than their description."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

from fedproc.contract.ids import DatasetId

MOST_PAGES = 200
"""of one dataset's columns"""
PAGE_COLUMNS = 100
"""columns of a page"""
MOST_VALUES = 100
"""categories of a column that are named"""
NAME_LENGTH = 200
"""characters of a column's name, unit, or one of its categories"""
MOST_CREATORS = 50
"""of one dataset"""
TEXT_LENGTH = 1000
"""characters of a column's description"""

ColumnType = Literal["integer", "number", "boolean", "category", "date", "text"]
Short = Annotated[str, StringConstraints(max_length=NAME_LENGTH)]


class Offer(BaseModel):
    """Frozen; unknown fields are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True, defer_build=True)


CatalogueId = Annotated[
    str, StringConstraints(max_length=500, pattern=r"^[A-Za-z][A-Za-z0-9+.-]*:[^\s<>\"{}|\\^`\x00-\x20]+$")
]
"""An absolute IRI such as ``eucaim:breast-2024`` or an https address; what stands before ``:`` is no host of ours."""


class OfferedDataset(Offer):
    id: DatasetId
    version: str = Field(description="follows from its content: another one means that a name or a byte is another")
    label: str = Field("", description="what the site itself calls this version")
    description: str = ""
    title: Short = Field("", description="as it is cited")
    creators: tuple[Short, ...] = Field((), max_length=MOST_CREATORS, description="persons or groups that made it")
    files: int | None = None
    size: int | None = Field(None, description="bytes")
    catalogue: CatalogueId | None = Field(None, description="the IRI of its entry in a catalogue outside")
    kinds: tuple[Short, ...] | None = Field(
        None,
        max_length=20,
        description="what it holds: images (DICOM), tables, or files of which the host says no more; none: not said",
    )


class DatasetColumn(Offer):
    """A column as its dataset's description has it (docs/datasets.md): nothing of any row."""

    name: Short
    type: ColumnType
    unit: Short = ""
    description: Annotated[str, StringConstraints(max_length=TEXT_LENGTH)] = ""
    values: tuple[Short, ...] = Field((), max_length=MOST_VALUES, description="of a category, in their order")
    more_values: int = Field(0, ge=0, description="categories that are not named here")


class ImagingCounts(Offer):
    """How many persons have a value: a multiple of the site's floor. What fewer persons have is left out."""

    persons: dict[Short, int] = Field({}, max_length=MOST_VALUES)
    more: bool = Field(False, description="there are others, of fewer persons than the floor or too many to be named")


class ImagingSummary(Offer):
    """What the images of one version of a dataset are. No number is exact, and none below ``floor`` is there."""

    floor: int = Field(ge=1, description="the site's least number of persons; all numbers are multiples of it")
    persons: int | None = Field(None, description="None: fewer than the floor; then nothing else is said, either")
    studies: int | None = None
    series: int | None = None
    segmentations: int | None = Field(
        None, description="series of segmentations, which series does not count; none: not said, or of few persons"
    )
    modality: ImagingCounts = ImagingCounts()
    body_part: ImagingCounts = ImagingCounts()
    manufacturer: ImagingCounts = ImagingCounts()
    sex: ImagingCounts = ImagingCounts()
    age: ImagingCounts = Field(ImagingCounts(), description="in classes of ten years, such as 40-49")


class DatasetColumns(Offer):
    """One page of the columns of one version of a dataset; pages count from 0."""

    dataset: DatasetId
    version: str
    page: int = Field(ge=0, lt=MOST_PAGES)
    pages: int = Field(ge=1, le=MOST_PAGES)
    columns: tuple[DatasetColumn, ...] = Field(max_length=PAGE_COLUMNS)
    imaging: ImagingSummary | None = Field(None, description="of its images, if it has any; with the first page")


class DatasetGrant(Offer):
    """That a provider at the centre has said yes for the order's user, when the experiment was started.

    The host asks the API again before it materialises the dataset, and while the job runs (docs/identity.md).
    """

    dataset: DatasetId
    provider: str
    project: str | None = None
    permit: str | None = None
    purpose: str | None = None
    until: AwareDatetime | None = None

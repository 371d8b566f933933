"""How a tool is described to people: its bio.tools entry (biotoolsSchema) and D6.1's survey (Table 1)."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Model(BaseModel):
    """Frozen; unknown keys are refused, because a manifest with a misspelt key would run something else."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class Survey(Model):
    """D6.1 Table 1: the 20 questions that every contributor of software answers, under their numbers."""

    name: str = Field(description="1 Name")
    contributor: str = Field(description="2 Contributor")
    involvement: Literal["developer", "contributor", "power user", "user"] = Field(description="3 Involvement")
    segment: Literal["infrastructure platform", "FL platform", "analytical software", "ML models"] = Field(
        description="4 Segment"
    )
    licence: str = Field(description="5 Licence, N/A if none")
    open_source: bool = Field(description="6 Open source")
    free_software: bool = Field(description="7 Free software")
    dataset: str | None = Field(None, description="8 Has a dataset? URL of its source")
    maturity_level: int = Field(ge=1, le=9, description="9 Technology Readiness Level")
    data_security: Literal[
        "security-by-default", "3rd party dependent", "depends on upper layer", "not taken into account"
    ] = Field(description="10 Data security")
    sensitive_data: bool = Field(description="11 Sensitive data?")
    certification: str | None = Field(None, description="12 Certification")
    dpia_up_to_date: bool = Field(description="13 DPIA up to date")
    technical_requirements: dict[Literal["cpu", "gpu", "other"], str] = Field(description="14 Technical requirements")
    internet_access: bool = Field(description="15 Internet access")
    running_mode: Literal["interactive", "batch", "both", "other"] = Field(description="16 Running mode")
    input_required: str = Field(description="17 Input required")
    output_provided: str = Field(description="18 Output provided")
    libraries: tuple[str, ...] = Field((), description="19 Libraries used")
    aggregation_strategy: str | None = Field(None, description="20 Aggregation strategy")


class Term(Model):
    """An EDAM term."""

    uri: str = Field(pattern=r"^http://edamontology\.org/(topic|operation|data|format)_\d{4}$")
    term: str


class DataFormat(Model):
    data: Term
    format: tuple[Term, ...] = ()


class Function(Model):
    """biotoolsSchema's ``function``."""

    operation: tuple[Term, ...] = Field(min_length=1)
    input: tuple[DataFormat, ...] = ()
    output: tuple[DataFormat, ...] = ()
    note: str | None = None


class Link(Model):
    url: str = Field(pattern=r"^https?://")
    type: tuple[str, ...] = ()


class Credit(Model):
    name: str
    orcidid: str | None = None
    typeEntity: str | None = None  # noqa: N815 (biotoolsSchema's spelling)
    typeRole: tuple[str, ...] = ()  # noqa: N815


class BioTools(Model):
    """The descriptive part, under biotoolsSchema's own names so that it goes to and from bio.tools as it is."""

    name: str = Field(min_length=1, max_length=100)
    description: str = Field(min_length=10, max_length=1000)
    homepage: str = Field(pattern=r"^https?://")
    biotoolsID: str | None = None  # noqa: N815
    toolType: tuple[str, ...] = ()  # noqa: N815
    topic: tuple[Term, ...] = ()
    function: tuple[Function, ...] = ()
    license: str | None = None
    maturity: Literal["Emerging", "Mature", "Legacy"] | None = None
    language: tuple[str, ...] = ()
    operatingSystem: tuple[str, ...] = ()  # noqa: N815
    link: tuple[Link, ...] = ()
    documentation: tuple[Link, ...] = ()
    credit: tuple[Credit, ...] = ()

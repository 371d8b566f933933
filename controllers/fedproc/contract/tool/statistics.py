"""What an output says of persons: each statistic's class, and which of its fields count persons.

A host's rules for what may leave go by it. The classes are those by which output checkers sort statistics
(SACRO's statbarns; E. Green, F. Ritchie et al.).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator

from fedproc.contract.ids import Name
from fedproc.contract.tool.description import Model

_NAME = r"[A-Za-z_][A-Za-z0-9_-]{0,63}"
FieldName = Annotated[str, StringConstraints(pattern=rf"^{_NAME}$")]
FieldPath = Annotated[
    str,
    StringConstraints(
        pattern=rf"^(|((\[\]|\{{\}})+|{_NAME}(\[\]|\{{\}})*)(\.{_NAME}(\[\]|\{{\}})*)*)$",
        max_length=300,
    ),
]
"""Names joined by dots; ``[]`` is each entry of a list, ``{}`` each value of an object of any keys; empty is all."""


class StatisticClass(StrEnum):
    """What kind of statistic it is; what is asked of each is said in docs/tools.md."""

    frequencies = "frequencies"
    """counts of persons, alone or as the cells of a table"""
    histogram = "histogram"
    """counts of persons by ranges of a number"""
    linear_aggregation = "linear_aggregation"
    """sums, means, variances"""
    position = "position"
    """quantiles"""
    extreme_values = "extreme_values"
    """smallest and largest values, which are single persons'"""
    survival = "survival"
    """a table of persons at risk and events over time, and its curve"""
    regression = "regression"
    """coefficients of a model"""
    association = "association"
    """correlations, odds and risk ratios, tests"""
    performance = "performance"
    """how well a model does on persons"""


class StatisticDecl(Model):
    """One statistic of an output. All fields are of each object at ``at``, which is one cell, step, group or model."""

    statistic: StatisticClass
    at: FieldPath = Field("", description="the objects; of a table (csv) each row is one, so nothing is given")
    persons: FieldName = Field(description="how many persons are behind the object; null where it is hidden")
    counts: tuple[FieldName, ...] = Field((), description="further counts of persons, as events")
    complements: tuple[FieldName, ...] = Field((), description="counts of those who are left out, as missing")
    dimensions: tuple[FieldName, ...] = Field(
        (), description="which cell of a table it is; null (csv: empty) in one of them is the total over it"
    )
    total: FieldName | None = Field(None, description="of an object around: persons of all its cells together")
    population: Name | None = Field(
        None, description="tables of the same persons and dimensions, whose cells are hidden together"
    )
    mean: FieldName | None = None
    sum: FieldName | None = None
    sum_of_squares: FieldName | None = Field(None, description="squared deviations from the mean, added up")
    variance: FieldName | None = None
    standard_deviation: FieldName | None = None
    quantile: FieldName | None = Field(None, description="class position: which, between 0 and 1")
    rates: tuple[FieldName, ...] = Field((), description="shares of the persons, between 0 and 1")
    values: tuple[FieldName, ...] = Field((), description="other numbers; of a model its coefficients, all below")

    @model_validator(mode="after")
    def _of_its_class(self) -> Self:
        if self.statistic is StatisticClass.position and self.quantile is None:
            raise ValueError("statistics: position needs 'quantile', the field that says which quantile it is")
        if len(set(self.fields())) < len(self.fields()):
            raise ValueError("statistics: a field stands for two things in one statistic")
        return self

    def at_rows(self) -> StatisticDecl:
        """The same of a table, whose rows are its objects."""
        return self if self.at else self.model_copy(update={"at": "[]"})

    @property
    def person_counts(self) -> tuple[str, ...]:
        """The fields that count persons."""
        return (self.persons, *self.counts, *self.complements)

    @property
    def estimates(self) -> tuple[str, ...]:
        """The fields that hold numbers computed from persons' values."""
        named = (self.mean, self.sum, self.sum_of_squares, self.variance, self.standard_deviation)
        return (*(name for name in named if name), *self.rates, *self.values)

    def fields(self) -> tuple[str, ...]:
        """All fields of an object that this statistic accounts for."""
        quantile = (self.quantile,) if self.quantile else ()
        return (*self.person_counts, *self.estimates, *self.dimensions, *quantile)

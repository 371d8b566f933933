"""Ordinary least squares from sums: the estimates and the figures that R's ``summary(lm)`` shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from regression.faults import Fault
from regression.solving import Scaled, scaled
from scipy.stats import f, t
from sums import Sums

Array = npt.NDArray[np.float64]
EXACT = 1e-12
"""a share of the outcome's sum of squares that rounding alone can leave"""


@dataclass(frozen=True)
class Coefficient:
    """An estimate with its standard error, their ratio, and its two-sided p-value by Student's t."""

    estimate: float
    std_error: float
    t_value: float
    p_value: float


@dataclass(frozen=True)
class FTest:
    """That all coefficients but the intercept are 0."""

    value: float
    numerator_df: int
    denominator_df: int
    p_value: float


@dataclass(frozen=True)
class Fit:
    """``r_squared`` is about the outcome's mean, or about 0 without an intercept, as in R.

    ``f_statistic`` is None if there is nothing but an intercept.
    """

    coefficients: dict[str, Coefficient]
    r_squared: float
    adjusted_r_squared: float
    residual_std_error: float
    residual_df: int
    f_statistic: FTest | None


def least_squares(sums: Sums, terms: Sequence[str], *, intercept: bool) -> Fit:
    """The fit of the last column on the others, ``terms``. Raises Fault if a term follows from others."""
    whole = sums.about(None if intercept else 0.0)
    total, joint = float(whole[-1, -1]), whole[:-1, -1]
    if total <= 0:
        raise Fault("formula: the outcome is the same for all persons: there is nothing to explain")
    system = scaled(whole[:-1, :-1], terms)
    slopes = system.solve(joint)
    left = _residual(total, float(joint @ slopes))
    df = sums.n - len(terms) - intercept
    variance = left / df
    errors = np.sqrt(variance * np.diag(system.inverse()))
    coefficients = {
        term: _coefficient(*pair, df) for term, pair in zip(terms, zip(slopes, errors, strict=True), strict=True)
    }
    if intercept:
        coefficients = {"Intercept": _intercept(sums, slopes, system, variance, df), **coefficients}
    return Fit(
        coefficients=coefficients,
        r_squared=1 - left / total,
        adjusted_r_squared=1 - (left / df) / (total / (sums.n - intercept)),
        residual_std_error=float(np.sqrt(variance)),
        residual_df=df,
        f_statistic=_f_test(total - left, variance, len(terms), df) if terms else None,
    )


def _residual(total: float, explained: float) -> float:
    left = total - explained
    if left <= EXACT * total:
        raise Fault("formula: the terms give the outcome exactly: is it among them?")
    return left


def _intercept(sums: Sums, slopes: Array, system: Scaled, variance: float, df: int) -> Coefficient:
    means = sums.means[:-1]
    estimate = sums.means[-1] - means @ slopes
    error = np.sqrt(variance * (1 / sums.n + means @ system.solve(means)))
    return _coefficient(float(estimate), float(error), df)


def _coefficient(estimate: float, error: float, df: int) -> Coefficient:
    ratio = float(estimate / error)
    return Coefficient(float(estimate), float(error), ratio, float(2 * t.sf(abs(ratio), df)))


def _f_test(explained: float, variance: float, terms: int, df: int) -> FTest:
    value = explained / terms / variance
    return FTest(float(value), terms, df, float(f.sf(value, terms, df)))

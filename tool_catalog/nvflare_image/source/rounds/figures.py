"""What estimates are told with: standard errors, z, p-values, intervals, the likelihood-ratio test."""

from __future__ import annotations

import math

from scipy.stats import chi2, norm

from .driving import Estimates

Z95 = float(norm.isf(0.025))


def coefficients(estimates: Estimates, ratio: str) -> dict[str, dict[str, float]]:
    """By term; ``ratio`` is the name of a coefficient's exponential, and ``lower`` and ``upper`` bound it at 95 %."""
    errors = [math.sqrt(value) for value in estimates.covariance.diagonal()]
    pairs = zip(estimates.coefficients.tolist(), errors, strict=True)
    return {term: _one(*pair, ratio) for term, pair in zip(estimates.terms, pairs, strict=True)}


def likelihood_ratio(log_likelihood: float, null: float, df: int) -> dict[str, float | int]:
    """The test of all ``df`` terms together."""
    value = max(0.0, 2 * (log_likelihood - null))
    return {"value": value, "df": df, "p_value": float(chi2.sf(value, df)) if df else 1.0}


def _one(estimate: float, error: float, ratio: str) -> dict[str, float]:
    z = estimate / error
    spread = Z95 * error
    return {
        "estimate": estimate,
        "std_error": error,
        "z_value": z,
        "p_value": float(2 * norm.sf(abs(z))),
        ratio: _exp(estimate),
        "lower": _exp(estimate - spread),
        "upper": _exp(estimate + spread),
    }


def _exp(value: float) -> float:
    """Within what JSON can say."""
    return math.exp(min(max(value, -700.0), 700.0))

"""The task ``server``: the hosts' sums become the logistic regression over all persons."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from regression.faults import Fault
from regression.jsonfile import write_object
from regression.persons import check_pooled
from rounds.driving import Estimates, Introduced, Plan, drive
from rounds.figures import coefficients, likelihood_ratio
from rounds.request import Request

METHOD = (
    "maximum likelihood over all persons of all hosts by Newton's method, exact from the hosts' sums in each round; "
    "standard errors from the information at the estimates, p-values by the normal distribution (Wald)"
)
EVENTS = 10
"""of the rarer outcome for each parameter, below which estimates are known to be unreliable"""


def run(port: int, hosts: Sequence[str], request: Request, output: Path, metrics: Path) -> None:
    """Estimate with all of ``hosts`` and write ``result.json`` into ``output``.

    Raises Fault for datasets that do not go together, Broken for a host that is lost or estimates that do not settle.
    """
    formula = request.formula

    def check(introduced: Sequence[Introduced]) -> None:
        parameters = len(introduced[0].terms) + formula.intercept
        if not parameters:
            raise Fault("formula: it has no term, and no intercept")
        check_pooled(parameters, sum(entry.moments.n for entry in introduced))

    limits = (request.max_rounds, request.join_seconds, request.round_seconds)
    plan = Plan(request.as_json(), request.min_cell, formula.intercept, formula.intercept, *limits, check)
    introduced, estimates = drive(port, hosts, plan, metrics)
    result = _result(introduced, estimates, request)
    write_object(output / "result.json", result)
    for warning in result["warnings"]:
        print(f"warning: {warning}", flush=True)


def _result(introduced: Sequence[Introduced], estimates: Estimates, request: Request) -> dict[str, Any]:
    n = sum(entry.moments.n for entry in introduced)
    events = sum(entry.events for entry in introduced)
    found, formula = estimates.maximum, request.formula
    null = _null(n, events) if formula.intercept else found.start
    rare, parameters = min(events, n - events), len(estimates.terms)
    return {
        "schema_version": 2,
        "status": "ok",
        "warnings": _warnings(rare, parameters),
        "formula": formula.given,
        "method": METHOD,
        "hosts": [entry.as_json() for entry in introduced],
        "rows": [entry.rows_as_json() for entry in introduced],
        "n": n,
        "events": events,
        "coefficients": coefficients(estimates, "odds_ratio"),
        "log_likelihood": found.log_likelihood,
        "null_log_likelihood": null,
        "likelihood_ratio": likelihood_ratio(found.log_likelihood, null, parameters - formula.intercept),
        "pseudo_r_squared": 1 - found.log_likelihood / null,
        "aic": 2 * parameters - 2 * found.log_likelihood,
        "rounds": found.rounds,
    }


def _null(n: int, events: int) -> float:
    """The log likelihood of nothing but an intercept."""
    return sum(count * math.log(count / n) for count in (events, n - events) if count)


def _warnings(rare: int, parameters: int) -> list[str]:
    if rare >= EVENTS * parameters:
        return []
    return [
        f"there are fewer than {EVENTS} persons with the rarer outcome for each parameter: estimates may be far off"
    ]

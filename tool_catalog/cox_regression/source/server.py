"""The task ``server``: the hosts' sums become the Cox regression over all persons."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from regression.faults import Fault
from regression.jsonfile import write_object
from regression.persons import check_pooled
from request import Survival
from rounds.driving import Estimates, Introduced, Plan, drive
from rounds.figures import coefficients, likelihood_ratio

METHOD = (
    "Cox's proportional hazards, stratified by host: each host has a baseline hazard of its own, no time leaves it; "
    "partial likelihood with Efron's handling of ties, by Newton's method, exact from the hosts' sums in each round; "
    "p-values by the normal distribution (Wald)"
)
EVENTS = 10
"""for each parameter, below which estimates are known to be unreliable"""


def run(port: int, hosts: Sequence[str], request: Survival, output: Path, metrics: Path) -> None:
    """Estimate with all of ``hosts`` and write ``result.json`` into ``output``.

    Raises Fault for datasets that do not go together, Broken for a host that is lost or estimates that do not settle.
    """
    limits = (request.max_rounds, request.join_seconds, request.round_seconds)
    plan = Plan(request.as_json(), request.min_cell, False, True, *limits, _check)
    introduced, estimates = drive(port, hosts, plan, metrics)
    result = _result(introduced, estimates, request)
    write_object(output / "result.json", result)
    for warning in result["warnings"]:
        print(f"warning: {warning}", flush=True)


def _check(introduced: Sequence[Introduced]) -> None:
    if not introduced[0].terms:
        raise Fault("formula: it has no term: Cox regression has no intercept")
    check_pooled(len(introduced[0].terms), sum(entry.moments.n for entry in introduced))


def _result(introduced: Sequence[Introduced], estimates: Estimates, request: Survival) -> dict[str, Any]:
    events, found, parameters = sum(entry.events for entry in introduced), estimates.maximum, len(estimates.terms)
    return {
        "schema_version": 2,
        "status": "ok",
        "warnings": _warnings(events, parameters),
        "formula": request.formula.given,
        "method": METHOD,
        "hosts": [entry.as_json() for entry in introduced],
        "rows": [entry.rows_as_json() for entry in introduced],
        "n": sum(entry.moments.n for entry in introduced),
        "events": events,
        "coefficients": coefficients(estimates, "hazard_ratio"),
        "log_likelihood": found.log_likelihood,
        "null_log_likelihood": found.start,
        "likelihood_ratio": likelihood_ratio(found.log_likelihood, found.start, parameters),
        "aic": 2 * parameters - 2 * found.log_likelihood,
        "rounds": found.rounds,
    }


def _warnings(events: int, parameters: int) -> list[str]:
    if events >= EVENTS * parameters:
        return []
    return [f"there are fewer than {EVENTS} events for each parameter: estimates may be far off"]

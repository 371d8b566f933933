"""Whether a grant is still the one by which a job was ordered. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fedproc.central.grants.answers import Finding, Terms

_TERMS = ("project", "purpose")


def as_ordered(findings: Mapping[str, Finding], host: str, ordered: Iterable[Mapping[str, Any]]) -> dict[str, Finding]:
    """The findings about a job's datasets, where one that is granted for another project or purpose counts as gone.

    ``ordered``: the grants of the job's order, as JSON. What a provider has not told, then or now, is no difference; a
    permit may be another, since a negotiation may follow another.
    """
    before = {f"{host}:{grant['dataset']}": grant for grant in ordered}
    return {dataset: _held(finding, before.get(dataset, {})) for dataset, finding in findings.items()}


def _held(finding: Finding, ordered: Mapping[str, Any]) -> Finding:
    if finding.answer != "granted":
        return finding
    if any(all(_agrees(terms, ordered, term) for term in _TERMS) for terms in finding.grants):
        return finding
    was = _named(ordered)
    now = " or ".join(dict.fromkeys(_named(vars(terms)) for terms in finding.grants))
    return Finding(finding.provider, "not_granted", f"the grant was for {was}, and is now for {now}")


def _agrees(terms: Terms, ordered: Mapping[str, Any], term: str) -> bool:
    now, before = getattr(terms, term), ordered.get(term)
    return now is None or before is None or now == before


def _named(terms: Mapping[str, Any]) -> str:
    return ", ".join(f"the {term} {terms[term]!r}" for term in _TERMS if terms.get(term)) or "no project that is told"

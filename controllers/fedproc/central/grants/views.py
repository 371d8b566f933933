"""What a researcher is told of the grants that he has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from fedproc.central.grants.answers import Finding, Terms
from fedproc.central.grants.projects import TERMS
from fedproc.contract.api.grants import GrantedTerms, ResearcherGrant
from fedproc.contract.times import moment


def grant_view(dataset: str, finding: Finding | None, ask_at: str) -> ResearcherGrant:
    """``finding`` is None of a dataset of which nobody is asked."""
    if finding is None:
        return ResearcherGrant(dataset=dataset, answer="open")
    return ResearcherGrant(
        dataset=dataset,
        answer=finding.answer,
        provider=finding.provider or None,
        reason=finding.reason,
        ask_at=ask_at,
        grants=[_terms(terms) for terms in finding.grants],
    )


def _terms(terms: Terms) -> GrantedTerms:
    until = None if terms.until is None else moment(terms.until)
    return GrantedTerms(project=terms.project, permit=terms.permit, purpose=terms.purpose, until=until)


def terms_told(findings: Iterable[Finding]) -> dict[str, list[str]]:
    """By term what the grants tell of it, each once; of grants that leave them to the user nothing."""
    binding = [terms for finding in findings for terms in finding.grants if terms.binds]
    return {term: list(dict.fromkeys(value for each in binding if (value := getattr(each, term)))) for term in TERMS}


def obstacles(findings: Mapping[str, Finding]) -> dict[str, str]:
    """By dataset that may not be used: why; empty where nobody could say so. Those that may be used are left out."""
    refused = {name: finding for name, finding in findings.items() if finding.answer != "granted"}
    return {name: finding.reason if finding.answer == "not_granted" else "" for name, finding in refused.items()}

"""The host's key and certificates; no lines before the host has any."""

from __future__ import annotations

from fedproc.onboarding.model import formatting
from fedproc.onboarding.model.facts import CredentialFacts, Facts, Unknown
from fedproc.onboarding.model.report import Line
from fedproc.onboarding.rules.common import Check, Finding, Requirement, asks, line, unknown

RENEW = "renew it: enrol the host again with a new code from the centre"


def modes(requirement: Requirement, facts: Facts) -> list[Line]:
    """Nobody but its owner reaches the key, nobody else can replace key or certificates."""
    text = "file modes of key and certificates"
    found = facts.credentials
    if not isinstance(found, CredentialFacts):
        return _unknown("credentials.modes", requirement, text, found)
    if not found.files:
        cure = "give them by --key and --certificate"
        return [unknown("credentials.modes", requirement, text, "no key or certificate is given", cure)]
    measured = "; ".join(found.problems) or f"as they should be: {', '.join(found.files)}"
    cure = (
        "chmod 0600 the key and 0644 the certificates; let only the orchestrator's user and root write into the folders"
    )
    return [line("credentials.modes", requirement, text, Finding(measured, lambda asked: not found.problems, cure))]


def match(requirement: Requirement, facts: Facts) -> list[Line]:
    """Key and certificate are a pair."""
    text = "the host's key belongs to its certificate"
    found = facts.credentials
    if not isinstance(found, CredentialFacts):
        return _unknown("credentials.match", requirement, text, found)
    measured = found.match_reason or ("it does" if found.match else "it does not: they are of different requests")
    cure = "give the certificate that was issued for this key (--certificate), or enrol the host again"
    if found.match is None:
        cure = "run the check as root, with the key and the certificate that the settings name"
    return [line("credentials.match", requirement, text, Finding(measured, lambda asked: found.match, cure))]


def expiry(requirement: Requirement, facts: Facts) -> list[Line]:
    """Days that the host's certificate is still good."""
    text = "the host's certificate is valid: " + asks(
        requirement, lambda d: f"for more than {formatting.number(d)} days"
    )
    found = facts.credentials
    if not isinstance(found, CredentialFacts):
        return _unknown("credentials.expiry", requirement, text, found)
    certificate = found.certificate
    if certificate is None:
        return [unknown("credentials.expiry", requirement, text, found.certificate_reason, "give it by --certificate")]
    span = f"from {formatting.when(certificate.not_before)} to {formatting.when(certificate.not_after)}"
    state = "expired" if certificate.days_left <= 0 else f"{certificate.days_left:.0f} days left"
    state = state if certificate.begun else "not valid yet"
    measured = f"'{certificate.subject}' by '{certificate.issuer}', {span}: {state}"
    finding = Finding(measured, lambda days: certificate.begun and certificate.days_left > days, RENEW)
    return [line("credentials.expiry", requirement, text, finding)]


def _unknown(check: str, requirement: Requirement, text: str, found: Unknown | None) -> list[Line]:
    return [] if found is None else [unknown(check, requirement, text, found.unknown, "run the check as root")]


CHECKS = (
    Check("credentials.modes", "flag", modes),
    Check("credentials.match", "flag", match),
    Check("credentials.expiry", "days", expiry),
)

"""Services of the centre, its clock, and the site's Data API. Each fault has one code and one cure."""

from __future__ import annotations

from urllib.parse import urlsplit

from fedproc.net.errors import cure_for
from fedproc.onboarding.model import formatting
from fedproc.onboarding.model.facts import DataApiFacts, Facts, ServiceFacts
from fedproc.onboarding.model.report import Line, Verdict
from fedproc.onboarding.rules.common import Check, Finding, Requirement, asks, line, unknown

NO_ADDRESS = "no address of the centre is given"
NO_ADDRESS_CURE = (
    "give each that the centre names: --service api=https://… --service broker=amqps://… (or --settings FILE)"
)

CURES = {
    "no-tls": "check the port, and look for a portal that asks to sign in: {host} port {port} does not speak TLS",
    "tls-refused": "ask the centre which TLS versions it speaks, and your network whether a device in between answers",
    "tls-cut": "a firewall may cut TLS by server name: have {host} port {port} allowed without inspection",
    "tls-intercepted": "have {host} exempted from TLS inspection (tell the firewall's operator all its names); "
    "if this issuer is the centre's own CA, give its file by --ca",
    "unknown-issuer": "if this issuer is the centre's own CA, give its file by --ca; "
    "if it is the site's own inspection, have {host} exempted from it",
    "wrong-ca": "get the CA file from the centre again and compare its fingerprint (--ca-sha256); "
    "if this issuer is the site's own inspection, have {host} exempted from it",
    "certificate-expired": "tell the centre's operator to renew it; if it is your CA file, get the present one",
    "certificate-not-yet-valid": "wait until it is valid, or tell the centre's operator",
    "certificate-name": "check the address; whoever answers for {host} is not it (a portal, or DNS leads elsewhere)",
    "tls-untrusted": "show this line to the centre's operator",
    "clock": "set this machine's clock (NTP: 'timedatectl set-ntp true', or the site's time server)",
    "no-answer": "ask the centre's operator whether this service is up, and whether this is its address",
    "unfinished": "run the check again with --only network; if it stays so, pack 'diagnose' for the centre",
}
"""What the probes find beyond TCP and the proxy (those are in :mod:`fedproc.net.errors`), each with its cure."""


def services(requirement: Requirement, facts: Facts) -> list[Line]:
    """One line per service."""
    if not facts.services:
        text = "outgoing connections to the core services and the federation's management"
        return [unknown("network.services", requirement, text, NO_ADDRESS, NO_ADDRESS_CURE)]
    return [_service(requirement, found) for found in facts.services]


def _service(requirement: Requirement, found: ServiceFacts) -> Line:
    text = f"outgoing connection to {found.name} ({found.url})"
    meets = None if found.fault == "unfinished" else found.fault is None
    finding = Finding(_reached(found), lambda asked: meets, _cure(found.fault, found.url))
    made = line(f"network.{found.name}", requirement, text, finding)
    return _with_fault(made, found.fault)


def _cure(code: str | None, url: str) -> str:
    parts = urlsplit(url)
    host, port = parts.hostname, parts.port or 443
    return CURES[code].format(host=host, port=port) if code in CURES else cure_for(code or "", host, port)


def _with_fault(made: Line, code: str | None) -> Line:
    return Line(**{**vars(made), "fault": code})


def _reached(found: ServiceFacts) -> str:
    if found.fault:
        return found.detail
    way = f" through the proxy {found.via}" if found.via else f" at {found.address}" if found.address else ""
    return f"{found.detail}{way}{_tls_text(found)}"


def _tls_text(found: ServiceFacts) -> str:
    if found.tls is None:
        return ", without TLS"
    return f", {found.tls}, certificate by '{found.issuer}' until {formatting.when(found.expires or '')}"


def clock(requirement: Requirement, facts: Facts) -> list[Line]:
    """This machine's clock against the centre's: thresholds are seconds, and must not be reached."""
    text = "clock against the centre: " + asks(requirement, lambda s: f"less than {formatting.number(s)} s apart")
    wrong = next((s for s in facts.services if s.fault == "clock"), None)
    if wrong:
        finding = Finding(f"{wrong.detail} (not verified)", lambda asked: False, CURES["clock"])
        return [_with_fault(line("network.clock", requirement, text, finding), "clock")]
    measured = [s for s in facts.services if s.skew_seconds is not None]
    if not measured:
        return [
            unknown("network.clock", requirement, text, _no_clock(facts), "reach a service by https first (see above)")
        ]
    best = min(measured, key=lambda s: s.skew_error or 0)
    skew = best.skew_seconds or 0.0
    finding = Finding(_skew_text(best, skew), lambda most: abs(skew) < most, CURES["clock"])
    made = line("network.clock", requirement, text, finding)
    return [_with_fault(made, None if made.verdict is Verdict.RECOMMENDED else "clock")]


def _no_clock(facts: Facts) -> str:
    if not facts.services:
        return NO_ADDRESS
    return "no service of the centre told the time over verified TLS"


def _skew_text(best: ServiceFacts, skew: float) -> str:
    side = "behind" if skew > 0 else "ahead of"
    return f"{abs(skew):.1f} s {side} {best.name} (measured to ±{best.skew_error:.1f} s)"


def data_api(requirement: Requirement, facts: Facts) -> list[Line]:
    """Internal access to the Data API, one line per place."""
    if not facts.data_apis:
        text = "access to the site's Data API"
        cure = "give its URL, or a folder of datasets, by --data-api"
        return [unknown("data-api.access", requirement, text, "no Data API is given", cure)]
    return [_data_api(requirement, found, number) for number, found in enumerate(facts.data_apis, 1)]


def _data_api(requirement: Requirement, found: DataApiFacts, number: int) -> Line:
    text = f"access to the site's Data API ({found.place})"
    code, detail = found.fault, found.detail
    status = found.service.status if found.service else None
    if code is None and status is not None and status >= 500:
        code, detail = "no-answer", f"answers {status}: it is reached, but does not work"
    meets = None if code in ("denied", "unfinished") else code is None
    name = "data-api.access" if number == 1 else f"data-api.access.{number}"
    made = line(name, requirement, text, Finding(detail, lambda asked: meets, _data_cure(found, code)))
    return _with_fault(made, code)


def _data_cure(found: DataApiFacts, code: str | None) -> str:
    if code in ("missing", "denied"):
        return "name an existing folder, and run the check as the user who will run the orchestrator"
    if code == "no-answer":
        return "see the Data API's own log"
    return _cure(code, found.place)


CHECKS = (
    Check("network.services", "flag", services),
    Check("network.clock", "seconds", clock),
    Check("data-api.access", "flag", data_api),
)

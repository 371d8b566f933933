"""A table of visas that somebody made up, altered, borrowed or kept too long: none of them gives access."""

from __future__ import annotations

import base64
import hmac
import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from joserfc.jwk import ECKey, RSAKey
from tests.support.providers import VisaSigner

from fedproc.central.grants.visas import Passport, VisaIssuer, passport

REALM = "https://auth.test/realms/fedproc"
OTHER_IDP = "https://login.aai.test"
DAY = 86_400.0
SIGNER = VisaSigner()
STRANGER = VisaSigner("https://stranger.test")
ROSA = ("rosa", REALM)


def pinned(signer: VisaSigner, **more: Any) -> VisaIssuer:
    usual = {"subjects_of": REALM, "types": frozenset({"ControlledAccessGrants"})}
    return VisaIssuer(**{"iss": signer.iss, "jku": signer.jku, "keys": {signer.key.kid: signer.key}, **usual, **more})


def read(*visas: Any, issuers: Sequence[VisaIssuer] = (), identities: Sequence[tuple[str, str]] = (ROSA,)) -> Passport:
    known = {issuer.iss: issuer for issuer in (issuers or [pinned(SIGNER)])}
    return passport(visas, identities, known, time.time(), 180 * DAY)


def test_a_good_visa_gives_access_to_its_resource_alone() -> None:
    found = read(SIGNER.visa())
    assert found.refused == ()
    grant = found.grant("UB:cohort")
    assert grant is not None and grant.jti == "visa-1"
    assert found.grant("UB:cohort2") is None
    assert found.grant("UB:coh") is None


@pytest.mark.slow
def test_an_rsa_key_signs_as_well() -> None:
    signer = VisaSigner(key=RSAKey.generate_key(2048, {"kid": "rsa"}))
    assert read(signer.visa(), issuers=[pinned(signer)]).grant("UB:cohort")


def _none_alg() -> str:
    parts = SIGNER.visa().split(".")
    return f"{_part({'alg': 'none', 'kid': 'visa-key', 'jku': SIGNER.jku})}.{parts[1]}."


def _part(value: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def _public_key_as_secret() -> str:
    header = _part({"alg": "HS256", "kid": "visa-key", "jku": SIGNER.jku})
    signed = f"{header}.{SIGNER.visa().split('.')[1]}"
    digest = hmac.digest(SIGNER.key.as_pem(private=False), signed.encode(), "sha256")
    return f"{signed}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


def _altered() -> str:
    head, body, signature = SIGNER.visa(value="UB:other").split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    claims["ga4gh_visa_v1"]["value"] = "UB:cohort"
    return f"{head}.{_part(claims)}.{signature}"


ATTACKS: dict[str, Callable[[], Any]] = {
    "algorithm none": _none_alg,
    "the public key as an HMAC secret": _public_key_as_secret,
    "an algorithm that is not admitted": lambda: SIGNER.visa(
        header={"alg": "PS256"}, key=RSAKey.generate_key(2048, {"kid": "visa-key"})
    ),
    "another key under the pinned kid": lambda: SIGNER.visa(key=ECKey.generate_key("P-256", {"kid": "visa-key"})),
    "a kid that is not pinned": lambda: SIGNER.visa(header={"kid": "new"}),
    "no kid": lambda: SIGNER.visa(header={"kid": None}),
    "a key in the header": lambda: SIGNER.visa(header={"jwk": STRANGER.key.as_dict(private=False)}, key=STRANGER.key),
    "a jku elsewhere": lambda: SIGNER.visa(header={"jku": "https://stranger.test/api/jwk"}),
    "a jku that begins like the pinned one": lambda: SIGNER.visa(header={"jku": SIGNER.jku + ".stranger.test"}),
    "no jku": lambda: SIGNER.visa(header={"jku": None}),
    "a header that must be understood": lambda: SIGNER.visa(header={"crit": ["b64"], "b64": True}),
    "an issuer that is not pinned": STRANGER.visa,
    "the pinned issuer, by a stranger's key": lambda: SIGNER.visa(key=STRANGER.key),
    "a pinned issuer with a slash more": lambda: SIGNER.visa(iss=SIGNER.iss + "/"),
    "no issuer": lambda: SIGNER.visa(iss=None),
    "an issuer that is a list": lambda: SIGNER.visa(iss=[SIGNER.iss]),
    "expired": lambda: SIGNER.visa(exp=int(time.time()) - 60),
    "without an end": lambda: SIGNER.visa(exp=None),
    "an end that is a text": lambda: SIGNER.visa(exp="9999999999"),
    "an end that is true": lambda: SIGNER.visa(exp=True),
    "an end at infinity": lambda: SIGNER.visa(exp=float("inf")),
    "not valid yet (nbf)": lambda: SIGNER.visa(nbf=int(time.time()) + 600),
    "not valid yet (iat)": lambda: SIGNER.visa(iat=int(time.time()) + 600),
    "without iat": lambda: SIGNER.visa(iat=None),
    "another subject": lambda: SIGNER.visa("mallory"),
    "a subject in capitals": lambda: SIGNER.visa("Rosa"),
    "a subject with a blank": lambda: SIGNER.visa("rosa "),
    "no subject": lambda: SIGNER.visa(sub=None),
    "an altered value": _altered,
    "an unknown condition": lambda: SIGNER.visa(
        about={"conditions": [[{"type": "AffiliationAndRole", "value": "const:faculty@uni.test"}]]}
    ),
    "conditions of a wrong shape": lambda: SIGNER.visa(about={"conditions": "none"}),
    "asserted too long ago": lambda: SIGNER.visa(about={"asserted": int(time.time() - 181 * DAY)}),
    "asserted in future": lambda: SIGNER.visa(about={"asserted": int(time.time()) + 600}),
    "never asserted": lambda: SIGNER.visa(about={"asserted": None}),
    "another type": lambda: SIGNER.visa(about={"type": "AcceptedTermsAndPolicies"}),
    "a type that is a list": lambda: SIGNER.visa(about={"type": ["ControlledAccessGrants"]}),
    "no source": lambda: SIGNER.visa(about={"source": None}),
    "no visa object": lambda: SIGNER.visa(ga4gh_visa_v1=None),
    "a visa object that is a text": lambda: SIGNER.visa(ga4gh_visa_v1="ControlledAccessGrants"),
    "another resource": lambda: SIGNER.visa(value="BSC:cohort"),
    "a pattern as resource": lambda: SIGNER.visa(value="UB:*"),
    "garbage": lambda: "garbage",
    "empty": lambda: "",
    "dots": lambda: "..",
    "a number": lambda: 7,
    "nothing": lambda: None,
    "an object": lambda: {"iss": SIGNER.iss},
    "no UTF-8": lambda: "a\udcff.b.c",
    "a payload that is a list": lambda: "eyJhbGciOiJFUzI1NiJ9.W10.AA",
    "megabytes": lambda: "a" * 2_000_000,
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_visa_that_is_none_gives_no_access_and_says_why(attack: str) -> None:
    made = ATTACKS[attack]()
    found = read(made)
    assert found.grant("UB:cohort") is None
    if "resource" not in attack:
        assert len(found.refused) == 1
        assert not (isinstance(made, str) and len(made) > 10 and made in found.refused[0])


def test_of_two_visas_the_good_one_counts_in_whatever_order() -> None:
    bad, good = SIGNER.visa(exp=int(time.time()) - 60), SIGNER.visa()
    for visas in ((bad, good), (good, bad)):
        found = read(*visas)
        assert found.grant("UB:cohort")
        assert len(found.refused) == 1


def test_two_halves_of_two_visas_give_nothing() -> None:
    """One is about the user and another dataset, one about the dataset and another user."""
    found = read(SIGNER.visa(value="UB:other"), SIGNER.visa("mallory"))
    assert found.grant("UB:cohort") is None


def test_too_many_visas_are_not_looked_at() -> None:
    assert read(*[SIGNER.visa()] * 501).grant("UB:cohort") is None


def test_a_source_that_does_not_count_gives_no_access() -> None:
    narrow = pinned(SIGNER, sources=frozenset({"https://clinic.test"}))
    assert read(SIGNER.visa(), issuers=[narrow]).grant("UB:cohort") is None
    assert read(SIGNER.visa(about={"source": "https://clinic.test"}), issuers=[narrow]).grant("UB:cohort")


def _link(signer: VisaSigner, sub: str, value: str) -> str:
    return signer.visa(sub, about={"type": "LinkedIdentities", "value": value})


LINKER = VisaSigner("https://broker.test")
BY_OTHER = pinned(SIGNER, subjects_of=OTHER_IDP)
LINKS = pinned(LINKER, subjects_of=OTHER_IDP, types=frozenset({"LinkedIdentities"}))
ROSA_HERE = "rosa,https%3A%2F%2Fauth.test%2Frealms%2Ffedproc"


def test_a_linked_identity_is_the_user() -> None:
    visas = (SIGNER.visa("r0sa@aai"), _link(LINKER, "r0sa@aai", f"x,y;{ROSA_HERE}"))
    assert read(*visas, issuers=[BY_OTHER, LINKS]).grant("UB:cohort")
    assert read(visas[0], issuers=[BY_OTHER, LINKS]).grant("UB:cohort") is None


@pytest.mark.parametrize(
    "links",
    [
        [_link(SIGNER, "r0sa@aai", ROSA_HERE)],  # by who may give access, and link nobody
        [_link(STRANGER, "r0sa@aai", ROSA_HERE)],
        [_link(LINKER, "somebody", ROSA_HERE)],  # links the user to another than the visa's
        [_link(LINKER, "r0sa@aai", "rosa")],
        [_link(LINKER, "r0sa@aai", f"rosa,{OTHER_IDP}")],  # of the same name elsewhere
    ],
)
def test_a_link_of_somebody_elses_making_makes_nobody_the_user(links: list[str]) -> None:
    found = read(SIGNER.visa("r0sa@aai"), *links, issuers=[BY_OTHER, LINKS])
    assert found.grant("UB:cohort") is None


def test_the_same_name_at_another_issuer_is_somebody_else() -> None:
    assert read(SIGNER.visa("rosa"), issuers=[BY_OTHER]).grant("UB:cohort") is None

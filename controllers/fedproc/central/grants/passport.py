"""GA4GH passports: the user's visas, as the broker's userinfo gives them to the user's own token."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
from joserfc.errors import JoseError
from joserfc.jwk import JWKRegistry, Key

from fedproc.central.grants.answers import NotAskedError, Person, Terms
from fedproc.central.grants.http import json_of
from fedproc.central.grants.visas import Identity, Passport, VisaIssuer, passport
from fedproc.central.settings import PassportSettings, VisaIssuerSettings
from fedproc.common.errors import InvalidInputError
from fedproc.common.files import read_regular
from fedproc.common.log import get_logger
from fedproc.common.tls import client_context

log = get_logger(__name__)

_DAY = 86_400.0
_TOLD = 3


class Passports:
    """Asks for the visas and checks them; raises :class:`InvalidInputError` at once for keys that cannot be read."""

    def __init__(self, settings: PassportSettings) -> None:
        self._settings = settings
        self._issuers = {entry.iss: _issuer(entry) for entry in settings.issuers}
        self._http = httpx.AsyncClient(verify=client_context(settings.ca_file), follow_redirects=False)

    async def close(self) -> None:
        await self._http.aclose()

    async def ask(self, person: Person, resources: Sequence[str]) -> Mapping[str, Sequence[Terms] | str]:
        token = await person.token(self._settings.audience)
        claims = await json_of(self._http, self._settings.userinfo_url, token, self._settings.seconds)
        tokens = claims.get("ga4gh_passport_v1", [])
        if not isinstance(tokens, list):
            raise NotAskedError(f"{self._settings.userinfo_url} gives a ga4gh_passport_v1 that is no list")
        own = self._identities(person, claims)
        found = passport(tokens, own, self._issuers, time.time(), self._settings.asserted_days * _DAY)
        for reason in found.refused:
            log.info("grant.visa_refused", reason=reason)
        return {name: _terms(found, name) for name in resources}

    def _identities(self, person: Person, claims: Mapping[str, Any]) -> list[Identity]:
        """The user at our issuer; and whom further claims of the userinfo name, if it speaks of this very user."""
        if claims.get("sub") != person.sub:
            raise NotAskedError(f"{self._settings.userinfo_url} speaks of somebody else than {person.sub}")
        named = ((claims.get(claim), issuer) for claim, issuer in self._settings.identity_claims.items())
        return [(person.sub, person.issuer), *((sub, issuer) for sub, issuer in named if isinstance(sub, str) and sub)]


def _terms(found: Passport, resource: str) -> Sequence[Terms] | str:
    visa = found.grant(resource)
    if visa is not None:
        return (Terms(permit=visa.jti, until=visa.expires),)
    refused = "; ".join(found.refused[:_TOLD])
    return f"no visa of yours gives access to it{f' ({refused})' if refused else ''}"


def _issuer(entry: VisaIssuerSettings) -> VisaIssuer:
    sources = None if entry.sources is None else frozenset(entry.sources)
    subjects_of = entry.subjects_of or entry.iss
    return VisaIssuer(entry.iss, entry.jku, _keys(entry.keys), subjects_of, frozenset(entry.types), sources)


def _keys(path: Path) -> dict[str, Key]:
    """The public keys of a JWK set, by ``kid``."""
    try:
        entries = json.loads(read_regular(path))["keys"]
        keys = {entry["kid"]: JWKRegistry.import_key(entry) for entry in entries if entry["kty"] in {"RSA", "EC"}}
    except OSError as error:
        raise InvalidInputError(f"{path}: cannot be read: {error.strerror}") from error
    except (JoseError, ValueError, TypeError, KeyError) as error:
        raise InvalidInputError(f"{path}: no JWK set whose keys have a kid: {error!r}") from error
    if not keys:
        raise InvalidInputError(f"{path}: has no RSA or EC key; put the visa issuer's JWK set there")
    return keys

"""Who the issuer knows, and its state: users, clients, device codes, refresh tokens."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey
from pydantic import BaseModel, ConfigDict
from werkzeug.security import check_password_hash, generate_password_hash

CODE_GRANT = "authorization_code"
DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
EXCHANGE_GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"

REFRESH_SECONDS = 12 * 3600


_REFRESH_TYPE = "refresh+jwt"
_ACCESS_TYPE = "at+jwt"
"""RFC 9068"""


@cache
def _no_password() -> str:
    """What an unknown user's password is compared with, so that it takes as long as a known one's."""
    return generate_password_hash(secrets.token_hex())


class User(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    password_hash: str
    roles: tuple[str, ...]

    def get_user_id(self) -> str:
        return self.name


class SignedIn(User):
    """A user in one session; ``audience`` is the only one of a token that was exchanged for it (RFC 8693)."""

    session: str
    audience: str | None = None


class Client(BaseModel):
    """A client; the methods are those that Authlib asks (its ClientMixin)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    client_id: str
    public_key: dict[str, Any] | None = None
    grants: tuple[str, ...]
    audience: tuple[str, ...] = ("fedproc-api",)
    host: str | None = None
    broker_scopes: str | None = None
    redirect_uris: tuple[str, ...] = ()

    def get_client_id(self) -> str:
        return self.client_id

    def get_allowed_scope(self, scope: str | None) -> str:
        return scope or ""

    def check_endpoint_auth_method(self, method: str, _endpoint: str) -> bool:
        return method == ("private_key_jwt" if self.public_key else "none")

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type in self.grants

    def check_response_type(self, response_type: str) -> bool:
        return response_type == "code"

    def get_default_redirect_uri(self) -> str | None:
        return None

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        return redirect_uri in self.redirect_uris


class IssuerSettings(BaseModel):
    """The issuer's configuration file (JSON, 0600)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str
    port: int
    key: Path
    users: tuple[User, ...]
    clients: tuple[Client, ...]
    access_seconds: int = 300


@dataclass
class DeviceRequest:
    """A device code that waits for its user; the methods are those that Authlib asks."""

    client_id: str
    scope: str
    user_code: str
    expires: float
    answer: tuple[SignedIn, bool] | None = None
    asked: float = field(default=0.0)

    def get_client_id(self) -> str:
        return self.client_id

    def get_scope(self) -> str:
        return self.scope

    def get_user_code(self) -> str:
        return self.user_code

    def is_expired(self) -> bool:
        return time.time() > self.expires


@dataclass
class AuthorizationCode:
    """A code that a browser carries to the dashboard; the methods are those that Authlib asks."""

    code: str
    client_id: str
    redirect_uri: str | None
    scope: str
    user: SignedIn
    expires: float
    code_challenge: str | None
    code_challenge_method: str | None

    def get_redirect_uri(self) -> str | None:
        return self.redirect_uri

    def get_scope(self) -> str:
        return self.scope


class Issuer:
    """The issuer's state and its answers to Authlib's questions."""

    def __init__(self, settings: IssuerSettings) -> None:
        self.settings = settings
        self.key = RSAKey.import_key(settings.key.read_bytes())
        self.jwk = {**self.key.as_dict(private=False), "kid": "issuer", "use": "sig", "alg": "RS256"}
        self._users = {user.name: user for user in settings.users}
        self._clients = {client.client_id: client for client in settings.clients}
        self.devices: dict[str, DeviceRequest] = {}
        self.codes: dict[str, AuthorizationCode] = {}
        self._used: dict[str, float] = {}
        self._ended: dict[str, float] = {}

    def client(self, client_id: str) -> Client | None:
        return self._clients.get(client_id)

    def user(self, claims: dict[str, Any]) -> SignedIn | None:
        """Whom a token names, unless the session in which it was given has ended."""
        user, session = self._users.get(str(claims.get("sub"))), str(claims.get("sid", ""))
        if user is None or session in self._ended:
            return None
        return SignedIn(**user.model_dump(), session=session)

    def sign_in(self, name: str, password: str) -> SignedIn | None:
        """A new session of the user's; None if name or password is wrong."""
        user = self._users.get(name)
        fits = check_password_hash(user.password_hash if user else _no_password(), password)
        return SignedIn(**user.model_dump(), session=secrets.token_urlsafe(16)) if user and fits else None

    def end(self, session: str) -> None:
        """End a session: none of its tokens is renewed or exchanged any more. A restart of the issuer forgets it."""
        now = time.time()
        self._ended = {key: until for key, until in self._ended.items() if until > now}
        if session:
            self._ended[session] = now + REFRESH_SECONDS

    def first_use(self, jti: str, until: float) -> bool:
        """Whether this id of a client assertion, which is valid ``until`` then, was not seen before."""
        now = time.time()
        self._used = {key: until for key, until in self._used.items() if until > now}
        if jti in self._used:
            return False
        self._used[jti] = until
        return True

    def refresh_token(self, client: Client, user: SignedIn) -> str:
        """Signed, not stored: it outlives a restart of the issuer."""
        claims = {
            "iss": self.settings.url,
            "sub": user.name,
            "sid": user.session,
            "client_id": client.client_id,
            "exp": int(time.time()) + REFRESH_SECONDS,
        }
        return jwt.encode({"alg": "RS256", "kid": "issuer", "typ": _REFRESH_TYPE}, claims, self.key)

    def read_refresh_token(self, token: str) -> dict[str, Any] | None:
        """Its claims, if it is one of ours that has not expired."""
        return self._read(token, _REFRESH_TYPE)

    def read_access_token(self, token: str) -> dict[str, Any] | None:
        """The same of an access token."""
        return self._read(token, _ACCESS_TYPE)

    def _read(self, token: str, kind: str) -> dict[str, Any] | None:
        try:
            read = jwt.decode(token, self.key, algorithms=["RS256"])
        except (JoseError, ValueError):
            return None
        right = read.header.get("typ") == kind and read.claims.get("exp", 0) > time.time()
        return read.claims if right else None

"""A loopback-only OIDC issuer, built on Authlib: ``python -m fedproc.demo.issuer --config FILE``.

Grants: password, refresh_token, device code (RFC 8628) and client credentials with ``private_key_jwt`` (RFC 7523).
It stands in for Keycloak on one machine; there is nothing in it that another machine could reach.
"""

from __future__ import annotations

import argparse
import secrets
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import waitress
from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2.rfc6749 import grants
from authlib.oauth2.rfc6749.errors import InvalidGrantError
from authlib.oauth2.rfc7523 import JWTBearerClientAssertion
from authlib.oauth2.rfc8628 import DeviceAuthorizationEndpoint, DeviceCodeGrant
from authlib.oauth2.rfc9068 import JWTBearerTokenGenerator
from flask import Flask, Response, jsonify, render_template_string, request
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet, RSAKey
from pydantic import BaseModel, ConfigDict
from werkzeug.security import check_password_hash, generate_password_hash

from fedproc.common.errors import InvalidInputError
from fedproc.demo.broker import SCOPE_CLAIM

DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
REFRESH_SECONDS = 12 * 3600
_REFRESH_TYPE = "refresh+jwt"
_NO_PASSWORD = generate_password_hash(secrets.token_hex())
"""what an unknown user's password is compared with, so that it takes as long as a known one's"""


class User(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    password_hash: str
    roles: tuple[str, ...]

    def get_user_id(self) -> str:
        return self.name


class Client(BaseModel):
    """A client; the methods are those that Authlib asks (its ClientMixin)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    client_id: str
    public_key: dict[str, Any] | None = None
    grants: tuple[str, ...]
    audience: tuple[str, ...] = ("fedproc-api",)
    host: str | None = None
    broker_scopes: str | None = None

    def get_client_id(self) -> str:
        return self.client_id

    def get_allowed_scope(self, scope: str | None) -> str:
        return scope or ""

    def check_endpoint_auth_method(self, method: str, _endpoint: str) -> bool:
        return method == ("private_key_jwt" if self.public_key else "none")

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type in self.grants


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
    answer: tuple[User, bool] | None = None
    asked: float = field(default=0.0)

    def get_client_id(self) -> str:
        return self.client_id

    def get_scope(self) -> str:
        return self.scope

    def get_user_code(self) -> str:
        return self.user_code

    def is_expired(self) -> bool:
        return time.time() > self.expires


class Issuer:
    """The issuer's state and its answers to Authlib's questions."""

    def __init__(self, settings: IssuerSettings) -> None:
        self.settings = settings
        self.key = RSAKey.import_key(settings.key.read_bytes())
        self.jwk = {**self.key.as_dict(private=False), "kid": "issuer", "use": "sig", "alg": "RS256"}
        self._users = {user.name: user for user in settings.users}
        self._clients = {client.client_id: client for client in settings.clients}
        self.devices: dict[str, DeviceRequest] = {}
        self._used: dict[str, float] = {}

    def client(self, client_id: str) -> Client | None:
        return self._clients.get(client_id)

    def user(self, name: str) -> User | None:
        return self._users.get(name)

    def authenticate(self, name: str, password: str) -> User | None:
        user = self._users.get(name)
        fits = check_password_hash(user.password_hash if user else _NO_PASSWORD, password)
        return user if fits else None

    def first_use(self, jti: str, until: float) -> bool:
        """Whether this id of a client assertion, which is valid ``until`` then, was not seen before."""
        now = time.time()
        self._used = {key: until for key, until in self._used.items() if until > now}
        if jti in self._used:
            return False
        self._used[jti] = until
        return True

    def refresh_token(self, client: Client, user: User) -> str:
        """Signed, not stored: it outlives a restart of the issuer."""
        claims = {
            "iss": self.settings.url,
            "sub": user.name,
            "client_id": client.client_id,
            "exp": int(time.time()) + REFRESH_SECONDS,
        }
        return jwt.encode({"alg": "RS256", "kid": "issuer", "typ": _REFRESH_TYPE}, claims, self.key)

    def read_refresh_token(self, token: str) -> dict[str, Any] | None:
        try:
            read = jwt.decode(token, self.key, algorithms=["RS256"])
        except (JoseError, ValueError):
            return None
        right = read.header.get("typ") == _REFRESH_TYPE and read.claims.get("exp", 0) > time.time()
        return read.claims if right else None


def create_app(settings: IssuerSettings) -> Flask:
    """The WSGI application."""
    issuer = Issuer(settings)
    app = Flask("fedproc-demo-issuer")
    server = AuthorizationServer(app, query_client=issuer.client, save_token=lambda _token, _request: None)
    server.register_token_generator("default", _token_generator(issuer))
    server.register_client_auth_method("private_key_jwt", _client_assertion(issuer))
    for grant in _grants(issuer):
        server.register_grant(grant)
    server.register_endpoint(_device_endpoint(issuer))
    _routes(app, issuer, server)
    return app


def _token_generator(issuer: Issuer) -> JWTBearerTokenGenerator:
    class Generator(JWTBearerTokenGenerator):  # type: ignore[misc]
        def get_jwks(self) -> KeySet:
            return KeySet.import_key_set(
                {"keys": [{**issuer.key.as_dict(private=True), "kid": "issuer", "use": "sig", "alg": "RS256"}]}
            )

        def get_audiences(self, client: Client, _user: User | None, _scope: str) -> list[str]:
            return list(client.audience)

        def get_extra_claims(self, client: Client, _grant: str, user: User | None, _scope: str) -> dict[str, Any]:
            claims: dict[str, Any] = {"azp": client.client_id}
            if user is not None:
                claims |= {"preferred_username": user.name, "realm_access": {"roles": list(user.roles)}}
            if client.host is not None:
                claims["fedproc_host"] = client.host
            if client.broker_scopes is not None:
                claims[SCOPE_CLAIM] = client.broker_scopes
            return claims

    return Generator(
        issuer=issuer.settings.url,
        expires_generator=lambda client, grant_type: issuer.settings.access_seconds,
        refresh_token_generator=lambda client, grant_type, user, scope: issuer.refresh_token(client, user),
    )


def _client_assertion(issuer: Issuer) -> JWTBearerClientAssertion:
    class Assertion(JWTBearerClientAssertion):  # type: ignore[misc]
        CLIENT_AUTH_METHOD = "private_key_jwt"

        def get_audiences(self) -> list[str]:
            return [issuer.settings.url, f"{issuer.settings.url}/token"]

        def validate_jti(self, claims: dict[str, Any], jti: str) -> bool:
            return issuer.first_use(jti, float(claims["exp"]))

        def resolve_client_public_key(self, client: Client) -> ECKey:
            return ECKey.import_key(client.public_key or {})

    return Assertion()


def _grants(issuer: Issuer) -> list[type]:
    methods = ["private_key_jwt", "none"]

    class Password(grants.ResourceOwnerPasswordCredentialsGrant):  # type: ignore[misc]
        TOKEN_ENDPOINT_AUTH_METHODS = methods

        def authenticate_user(self, username: str, password: str) -> User:
            if (user := issuer.authenticate(username, password)) is None:
                raise InvalidGrantError("user name or password is wrong")
            return user

    class Refresh(grants.RefreshTokenGrant):  # type: ignore[misc]
        TOKEN_ENDPOINT_AUTH_METHODS = methods
        INCLUDE_NEW_REFRESH_TOKEN = True

        def authenticate_refresh_token(self, refresh_token: str) -> Any:
            claims = issuer.read_refresh_token(refresh_token)
            return _Credential(claims) if claims else None

        def authenticate_user(self, credential: _Credential) -> User | None:
            return issuer.user(credential.claims["sub"])

        def revoke_old_credential(self, _credential: _Credential) -> None:
            """A demo's refresh tokens are not stored, so an old one lives until it expires."""

    class Machine(grants.ClientCredentialsGrant):  # type: ignore[misc]
        TOKEN_ENDPOINT_AUTH_METHODS = methods[:1]

    class Device(DeviceCodeGrant):  # type: ignore[misc]
        TOKEN_ENDPOINT_AUTH_METHODS = methods

        def query_device_credential(self, device_code: str) -> DeviceRequest | None:
            return issuer.devices.get(device_code)

        def query_user_grant(self, user_code: str) -> tuple[User, bool] | None:
            return next((d.answer for d in issuer.devices.values() if d.user_code == user_code), None)

        def create_token_response(self) -> Any:
            answer = super().create_token_response()
            issuer.devices.pop(self.request.payload.data["device_code"], None)
            return answer

        def should_slow_down(self, credential: DeviceRequest) -> bool:
            before, credential.asked = credential.asked, time.time()
            return credential.asked - before < 0.5

    return [Password, Refresh, Machine, Device]


class _Credential:
    """A refresh token that was read; the methods are those that Authlib asks."""

    def __init__(self, claims: dict[str, Any]) -> None:
        self.claims = claims

    def check_client(self, client: Client) -> bool:
        return bool(self.claims["client_id"] == client.client_id)

    def get_scope(self) -> str:
        return ""


def _device_endpoint(issuer: Issuer) -> type:
    class Endpoint(DeviceAuthorizationEndpoint):  # type: ignore[misc]
        CLIENT_AUTH_METHODS = ("none",)
        EXPIRES_IN = 600
        INTERVAL = 1

        def get_verification_uri(self) -> str:
            return f"{issuer.settings.url}/device"

        def save_device_credential(self, client_id: str, scope: str | None, data: dict[str, Any]) -> None:
            expires = time.time() + data["expires_in"]
            issuer.devices[data["device_code"]] = DeviceRequest(client_id, scope or "", data["user_code"], expires)

    return Endpoint


_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Sign in to fedproc</title>
<style>body{font:1rem/1.5 system-ui,sans-serif;max-width:26rem;margin:4rem auto;padding:0 1rem;color:#1a1a1a}
label{display:block;margin:.8rem 0 .2rem}input{font:inherit;width:100%;box-sizing:border-box;padding:.4rem}
button{font:inherit;margin-top:1.2rem;padding:.5rem 1.2rem}p[role=alert]{
 border-left:4px solid #a40000;padding-left:.7rem}
</style><h1>Sign in to fedproc</h1>
{% if said %}<p role="alert">{{ said }}</p>{% endif %}
{% if not done %}<form method="post"><label for="c">Code that your terminal shows</label>
<input id="c" name="user_code" value="{{ code }}" required autocomplete="off"><label for="u">User name</label>
<input id="u" name="username" required autocomplete="username"><label for="p">Password</label>
<input id="p" name="password" type="password" required autocomplete="current-password">
<button>Sign in</button></form>{% else %}<p>You are signed in. Go back to your terminal.</p>{% endif %}</html>"""


def _routes(app: Flask, issuer: Issuer, server: AuthorizationServer) -> None:
    url = issuer.settings.url

    @app.get("/.well-known/openid-configuration")
    def discovery() -> Response:
        return jsonify(
            issuer=url,
            jwks_uri=f"{url}/jwks",
            token_endpoint=f"{url}/token",
            device_authorization_endpoint=f"{url}/device_authorization",
            grant_types_supported=["password", "refresh_token", "client_credentials", DEVICE_GRANT],
            token_endpoint_auth_methods_supported=["private_key_jwt", "none"],
            id_token_signing_alg_values_supported=["RS256"],
            response_types_supported=[],
            subject_types_supported=["public"],
        )

    @app.get("/jwks")
    def jwks() -> Response:
        return jsonify(keys=[issuer.jwk])

    @app.post("/token")
    def token() -> Response:
        return server.create_token_response()  # type: ignore[no-any-return]

    @app.post("/device_authorization")
    def device_authorization() -> Response:
        return server.create_endpoint_response(DeviceAuthorizationEndpoint.ENDPOINT_NAME)  # type: ignore[no-any-return]

    @app.route("/device", methods=["GET", "POST"])
    def device() -> str:
        code = request.values.get("user_code", "")
        if request.method == "GET":
            return render_template_string(_PAGE, code=code, said="", done=False)
        said = _approve(
            issuer, code.strip().upper(), request.form.get("username", ""), request.form.get("password", "")
        )
        return render_template_string(_PAGE, code=code, said=said, done=not said)


def _approve(issuer: Issuer, code: str, name: str, password: str) -> str:
    """Let the signed-in user have the device's token; returns what is wrong, if anything is."""
    waiting = next((d for d in issuer.devices.values() if d.user_code == code and not d.is_expired()), None)
    if waiting is None:
        return "No terminal waits for this code. Codes live for ten minutes; run fedproc login again."
    user = issuer.authenticate(name, password)
    if user is None:
        return "User name or password is not right."
    waiting.answer = (user, True)
    return ""


def main() -> int:
    """Serve until SIGTERM, on the loopback interface only."""
    parser = argparse.ArgumentParser(prog="python -m fedproc.demo.issuer")
    parser.add_argument("--config", type=Path, required=True)
    path: Path = parser.parse_args().config
    if path.stat().st_mode & 0o077:
        raise InvalidInputError(f"{path} holds password hashes and may be read by others: chmod 600 {path}")
    settings = IssuerSettings.model_validate_json(path.read_text())
    waitress.serve(create_app(settings), host="127.0.0.1", port=settings.port, threads=8, ident=None)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

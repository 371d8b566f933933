"""What the issuer grants, in Authlib's form: password, refresh token, device code, client credentials, exchange."""

from __future__ import annotations

import time
from typing import Any

from authlib.oauth2.rfc6749 import grants
from authlib.oauth2.rfc6749.errors import InvalidGrantError, InvalidRequestError, UnauthorizedClientError
from authlib.oauth2.rfc6749.grants import BaseGrant, TokenEndpointMixin
from authlib.oauth2.rfc7523 import JWTBearerClientAssertion
from authlib.oauth2.rfc8628 import DeviceAuthorizationEndpoint, DeviceCodeGrant
from authlib.oauth2.rfc9068 import JWTBearerTokenGenerator
from joserfc.jwk import ECKey, KeySet

from fedproc.demo.broker import SCOPE_CLAIM
from fedproc.demo.issuer.model import EXCHANGE_GRANT, AuthorizationCode, Client, DeviceRequest, Issuer, SignedIn

CODE_SECONDS = 60
_KINDS = "urn:ietf:params:oauth:token-type:"


def token_generator(issuer: Issuer) -> JWTBearerTokenGenerator:
    class Generator(JWTBearerTokenGenerator):  # type: ignore[misc]
        def get_jwks(self) -> KeySet:
            return KeySet.import_key_set(
                {"keys": [{**issuer.key.as_dict(private=True), "kid": "issuer", "use": "sig", "alg": "RS256"}]}
            )

        def get_audiences(self, client: Client, user: SignedIn | None, _scope: str) -> list[str]:
            return [user.audience] if user and user.audience else list(client.audience)

        def get_extra_claims(self, client: Client, _grant: str, user: SignedIn | None, _scope: str) -> dict[str, Any]:
            claims: dict[str, Any] = {"azp": client.client_id}
            if user is not None:
                claims |= {
                    "preferred_username": user.name,
                    "realm_access": {"roles": list(user.roles)},
                    "sid": user.session,
                }
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


def client_assertion_method(issuer: Issuer) -> JWTBearerClientAssertion:
    class Assertion(JWTBearerClientAssertion):  # type: ignore[misc]
        CLIENT_AUTH_METHOD = "private_key_jwt"

        def get_audiences(self) -> list[str]:
            return [issuer.settings.url, f"{issuer.settings.url}/token"]

        def validate_jti(self, claims: dict[str, Any], jti: str) -> bool:
            return issuer.first_use(jti, float(claims["exp"]))

        def resolve_client_public_key(self, client: Client) -> ECKey:
            return ECKey.import_key(client.public_key or {})

    return Assertion()


def grant_types(issuer: Issuer) -> list[type]:
    methods = ["private_key_jwt", "none"]

    class Password(grants.ResourceOwnerPasswordCredentialsGrant):  # type: ignore[misc]
        TOKEN_ENDPOINT_AUTH_METHODS = methods

        def authenticate_user(self, username: str, password: str) -> SignedIn:
            if (user := issuer.sign_in(username, password)) is None:
                raise InvalidGrantError("user name or password is wrong")
            return user

    class Refresh(grants.RefreshTokenGrant):  # type: ignore[misc]
        TOKEN_ENDPOINT_AUTH_METHODS = methods
        INCLUDE_NEW_REFRESH_TOKEN = True

        def authenticate_refresh_token(self, refresh_token: str) -> Any:
            claims = issuer.read_refresh_token(refresh_token)
            return _Credential(claims) if claims and issuer.user(claims) else None

        def authenticate_user(self, credential: _Credential) -> SignedIn | None:
            return issuer.user(credential.claims)

        def revoke_old_credential(self, _credential: _Credential) -> None:
            """A demo's refresh tokens are not stored, so an old one lives until it expires."""

    class Machine(grants.ClientCredentialsGrant):  # type: ignore[misc]
        TOKEN_ENDPOINT_AUTH_METHODS = methods[:1]

    class Device(DeviceCodeGrant):  # type: ignore[misc]
        TOKEN_ENDPOINT_AUTH_METHODS = methods

        def query_device_credential(self, device_code: str) -> DeviceRequest | None:
            return issuer.devices.get(device_code)

        def query_user_grant(self, user_code: str) -> tuple[SignedIn, bool] | None:
            return next((d.answer for d in issuer.devices.values() if d.user_code == user_code), None)

        def create_token_response(self) -> Any:
            answer = super().create_token_response()
            issuer.devices.pop(self.request.payload.data["device_code"], None)
            return answer

        def should_slow_down(self, credential: DeviceRequest) -> bool:
            before, credential.asked = credential.asked, time.time()
            return credential.asked - before < 0.5

    return [Password, Refresh, Machine, Device]


def code_grant(issuer: Issuer) -> type:
    """The code that a browser brings back (RFC 6749 section 4.1): good once, for a minute, and only with PKCE."""

    class Code(grants.AuthorizationCodeGrant):  # type: ignore[misc]
        TOKEN_ENDPOINT_AUTH_METHODS = ("none",)

        def save_authorization_code(self, code: str, request: Any) -> None:
            now, data = time.time(), request.payload.data
            for key in [key for key, kept in list(issuer.codes.items()) if kept.expires <= now]:
                issuer.codes.pop(key, None)  # in place: another thread may keep a code meanwhile
            issuer.codes[code] = AuthorizationCode(
                code, request.client.client_id, data.get("redirect_uri"), data.get("scope", ""), request.user,
                now + CODE_SECONDS, data.get("code_challenge"), data.get("code_challenge_method"),
            )  # fmt: skip

        def query_authorization_code(self, code: str, client: Client) -> AuthorizationCode | None:
            kept = issuer.codes.get(code)
            good = kept is not None and kept.client_id == client.client_id and kept.expires > time.time()
            return kept if good else None

        def delete_authorization_code(self, authorization_code: AuthorizationCode) -> None:
            issuer.codes.pop(authorization_code.code, None)

        def authenticate_user(self, authorization_code: AuthorizationCode) -> SignedIn:
            return authorization_code.user

    return Code


def exchange_grant(issuer: Issuer) -> type:
    """A user's token becomes one for a single audience, or a refresh token of the client's own in the user's session
    (RFC 8693), as Keycloak does both within a realm."""

    class Exchange(BaseGrant, TokenEndpointMixin):  # type: ignore[misc]
        GRANT_TYPE = EXCHANGE_GRANT
        TOKEN_ENDPOINT_AUTH_METHODS = ("private_key_jwt",)

        def validate_token_request(self) -> None:
            client, form = self.authenticate_token_endpoint_client(), self.request.form
            if not client.check_grant_type(self.GRANT_TYPE):
                raise UnauthorizedClientError(f"{client.client_id} may not exchange tokens")
            if form.get("subject_token_type") != _KINDS + "access_token":
                raise InvalidRequestError("subject_token_type: access tokens alone are exchanged")
            self.request.client, self.request.user = client, _subject(issuer, client, form.get("subject_token", ""))
            audience = form.get("audience")
            if audience and issuer.client(audience) is None:
                raise InvalidRequestError(f"there is no audience {audience}")

        def create_token_response(self) -> Any:
            form = self.request.form
            kind = form.get("requested_token_type", _KINDS + "access_token")
            user = self.request.user.model_copy(update={"audience": form.get("audience")})
            token = self.generate_token(user=user, include_refresh_token=kind == _KINDS + "refresh_token")
            return 200, {**token, "issued_token_type": kind}, self.TOKEN_RESPONSE_HEADER

    return Exchange


def _subject(issuer: Issuer, client: Client, token: str) -> SignedIn:
    """Whose token it is. It must be meant for the client, or have been given to it."""
    claims = issuer.read_access_token(token)
    user = issuer.user(claims) if claims else None
    if claims is None or user is None or client.client_id not in (*claims["aud"], claims["azp"]):
        raise InvalidRequestError("Invalid token")
    return user


class _Credential:
    """A refresh token that was read; the methods are those that Authlib asks."""

    def __init__(self, claims: dict[str, Any]) -> None:
        self.claims = claims

    def check_client(self, client: Client) -> bool:
        return bool(self.claims["client_id"] == client.client_id)

    def get_scope(self) -> str:
        return ""


def device_endpoint(issuer: Issuer) -> type:
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

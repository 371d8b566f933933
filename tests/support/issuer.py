"""A small OIDC issuer on loopback: discovery, published keys, password and refresh grants."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import secrets
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlencode

from joserfc import jwt
from joserfc.jwk import RSAKey

AUDIENCE = "fedproc-api"
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
_HELD = "held"


class TestIssuer:
    """What it answers can be changed while it runs."""

    __test__ = False

    def __init__(self) -> None:
        self.key = RSAKey.generate_key(2048, {"kid": "one", "use": "sig", "alg": "RS256"})
        self.keys = [self.key]
        self.grant_types = ["password", "refresh_token", "client_credentials"]
        self.passwords = {"rosa": "correct horse"}
        self.sessions_ended: set[str] = set()
        """subjects whose sessions are over"""
        self.exchanged: dict[str, Any] = {}
        """what an exchanged token has instead of what it should"""
        self.asked: list[dict[str, str]] = []
        self.key_fetches = 0
        self.takes = 0.0
        self.signs_in: tuple[str, ...] | None = ("rosa", "researcher")
        """who is signed in there with a browser, and the roles; None: who comes is refused"""
        self.sessions: dict[str, tuple[str, ...]] = {}
        """by refresh token"""
        self.lives = 600
        """seconds of an access token for a browser"""
        self.rotates = False
        """whether a refresh token counts once"""
        self.refuses: tuple[int, dict[str, str]] | None = None
        """what its token endpoint answers instead"""
        self.codes: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {}
        self._numbers = itertools.count()
        self._signing_in: dict[str, threading.Lock] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> TestIssuer:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Answer nobody any more; may be said twice."""
        self._server.shutdown()
        self._server.server_close()

    def token(
        self, sub: str, /, *roles: str, key: RSAKey | None = None, header: dict[str, Any] | None = None, **claims: Any
    ) -> str:
        """A signed access token; ``claims`` replace the usual ones, None leaves one out."""
        now = int(time.time())
        usual: dict[str, Any] = {
            "iss": self.url, "aud": AUDIENCE, "sub": sub, "iat": now, "exp": now + 600,
            "preferred_username": sub, "realm_access": {"roles": list(roles)},
        }  # fmt: skip
        values = {name: value for name, value in {**usual, **claims}.items() if value is not None}
        signing = key or self.key
        return jwt.encode(header or {"alg": "RS256", "kid": signing.kid, "typ": "JWT"}, values, signing)

    def answer(self, method: str, path: str, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        if path == "/.well-known/openid-configuration":
            return 200, {
                "issuer": self.url,
                "jwks_uri": f"{self.url}/keys",
                "authorization_endpoint": f"{self.url}/authorize",
                "end_session_endpoint": f"{self.url}/end",
                "token_endpoint": f"{self.url}/token",
                "device_authorization_endpoint": f"{self.url}/device",
                "grant_types_supported": self.grant_types,
            }
        if path == "/keys":
            self.key_fetches += 1
            return 200, {"keys": [key.as_dict(private=False) for key in self.keys]}
        if path == "/token" and method == "POST":
            return self._grant(form)
        if path.startswith("/authorize?"):
            return self._authorize(dict(parse_qsl(path.partition("?")[2])))
        if path.startswith("/end?"):
            return 303, {"location": dict(parse_qsl(path.partition("?")[2]))["post_logout_redirect_uri"]}
        return 404, {}

    def _authorize(self, asked: dict[str, str]) -> tuple[int, dict[str, Any]]:
        """A browser that is signed in here is led back at once."""
        self.asked.append(asked)
        answer = {"state": asked["state"], "iss": self.url}
        if self.signs_in is None:
            answer["error"] = "access_denied"
        else:
            answer["code"] = secrets.token_hex(8)
            self.codes[answer["code"]] = self.signs_in, asked
        return 303, {"location": f"{asked['redirect_uri']}?{urlencode(answer)}"}

    def _redeem(self, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        who, asked = self.codes.pop(form["code"], ((), {}))
        proof = base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).decode().rstrip("=")
        same = form["redirect_uri"] == asked.get("redirect_uri") and form["client_id"] == asked.get("client_id")
        if not who or proof != asked["code_challenge"] or not same:
            return 400, {"error": "invalid_grant"}
        refresh = secrets.token_hex(8)
        self.sessions[refresh] = who
        return 200, self.tokens_for(who, refresh)

    def _renewed(self, refresh: str) -> dict[str, Any]:
        if not self.rotates:
            return self.tokens_for(self.sessions[refresh], refresh)
        following = secrets.token_hex(8)
        self.sessions[following] = self.sessions.pop(refresh)
        return self.tokens_for(self.sessions[following], following)

    def tokens_for(self, who: tuple[str, ...], refresh: str) -> dict[str, Any]:
        token = self.token(*who, exp=int(time.time()) + self.lives)
        return {"access_token": token, "token_type": "Bearer", "expires_in": self.lives, "refresh_token": refresh}

    def _grant(self, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        self.asked.append(form)
        if self.refuses is not None:
            return self.refuses
        if form["grant_type"] == "authorization_code":
            return self._redeem(form)
        if form.get("refresh_token") in self.sessions:
            return 200, self._renewed(form["refresh_token"])
        if form["grant_type"] == EXCHANGE:
            return self._exchange(form)
        if form.get("refresh_token", "").startswith(_HELD):
            return self._session(form["refresh_token"].split(":")[1])
        user = form.get("username", "")
        if form["grant_type"] == "password" and self._another_signs_in(user):
            return 400, {"error": "invalid_grant", "error_description": "as Keycloak does with sign-ins at once"}
        right = form["grant_type"] == "password" and self.passwords.get(user) == form.get("password")
        if right or form.get("refresh_token") == "again":
            token = self.token(user or "rosa", "researcher")
            return 200, {"access_token": token, "token_type": "Bearer", "expires_in": 600, "refresh_token": "again"}
        return 400, {"error": "invalid_grant", "error_description": "Invalid user credentials"}

    def _exchange(self, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        """RFC 8693, as Keycloak does it within one realm."""
        claims = jwt.decode(form["subject_token"], self.key, algorithms=["RS256"]).claims
        if claims["sub"] in self.sessions_ended:
            return 400, {"error": "invalid_request", "error_description": "Invalid token"}
        if form.get("requested_token_type", "").endswith(":refresh_token"):
            return self._session(claims["sub"])
        own = {"aud": [form["audience"]], "exp": int(time.time()) + 300, "realm_access": None, **self.exchanged}
        return 200, {"access_token": self.token(own.pop("sub", claims["sub"]), **own), "token_type": "Bearer"}

    def _session(self, sub: str) -> tuple[int, dict[str, Any]]:
        if sub in self.sessions_ended:
            return 400, {"error": "invalid_grant", "error_description": "Session not active"}
        refresh = f"{_HELD}:{sub}:{next(self._numbers)}"
        return 200, {"access_token": self.token(sub, "researcher"), "token_type": "Bearer", "refresh_token": refresh}

    def _another_signs_in(self, user: str) -> bool:
        turn = self._signing_in.setdefault(user, threading.Lock())
        if not turn.acquire(blocking=False):
            return True
        time.sleep(self.takes)
        turn.release()
        return False

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def _reply(self) -> None:
                length = int(self.headers.get("content-length", 0))
                form = dict(parse_qsl(self.rfile.read(length).decode()))
                status, body = issuer.answer(self.command, self.path, form)
                content = json.dumps(body).encode()
                self.send_response(status)
                if status == 303:
                    self.send_header("Location", body["location"])
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = _reply

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        return Handler

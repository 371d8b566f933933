"""What the realm gives, asked as browsers, hosts and the API ask it; runs on the machine, prints JSON."""

import argparse
import base64
import hashlib
import html.parser
import json
import secrets
import time
import urllib.parse
from pathlib import Path

import httpx
import jwt

REDIRECT = "https://api.fedproc.test/dashboard/sign-in/back"
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


class Form(html.parser.HTMLParser):
    """The first form of a page, with its hidden fields."""

    def __init__(self, page):
        super().__init__()
        self.action, self.fields = None, {}
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        if tag == "form" and self.action is None:
            self.action = values["action"]
        elif tag == "input" and values.get("name"):
            self.fields[values["name"]] = values.get("value") or ""


class Realm:
    def __init__(self, issuer, ca):
        self.issuer = issuer
        self.openid = f"{issuer}/protocol/openid-connect"
        self.http = httpx.Client(verify=ca, timeout=60)

    def sign_in(self, provider, user, password):
        """As a browser does that comes from the dashboard and is led to an upstream provider: a token of our realm."""
        verifier = secrets.token_urlsafe(48)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        asked = {
            "client_id": "fedproc-dashboard", "response_type": "code", "scope": "openid", "redirect_uri": REDIRECT,
            "state": "s", "code_challenge": challenge, "code_challenge_method": "S256", "kc_idp_hint": provider,
        }  # fmt: skip
        answer = self.http.get(f"{self.openid}/auth", params=asked)
        for _ in range(20):
            if answer.is_redirect:
                target = urllib.parse.urljoin(str(answer.url), answer.headers["location"])
                if target.startswith(REDIRECT):
                    return self._redeem(target, verifier)
                answer = self.http.get(target)
                continue
            form = Form(answer.text)
            if form.action is None:
                raise SystemExit(f"{answer.status_code} {answer.url}: {answer.text[:2000]}")
            fields = form.fields | ({"username": user, "password": password} if "username" in form.fields else {})
            answer = self.http.post(urllib.parse.urljoin(str(answer.url), form.action), data=fields)
        raise SystemExit(f"no end of forms at {answer.url}: {answer.text[:2000]}")

    def _redeem(self, target, verifier):
        given = urllib.parse.parse_qs(urllib.parse.urlsplit(target).query)
        if "code" not in given:
            raise SystemExit(f"no code: {given}")
        return self._token(
            {"grant_type": "authorization_code", "code": given["code"][0], "redirect_uri": REDIRECT,
             "client_id": "fedproc-dashboard", "code_verifier": verifier}
        )  # fmt: skip

    def _token(self, form):
        body = self.http.post(f"{self.openid}/token", data=form).json()
        return body.get("access_token") or f"refused: {body.get('error')}: {body.get('error_description')}"

    def _as(self, client, key):
        now = int(time.time())
        claims = {
            "iss": client,
            "sub": client,
            "aud": self.issuer,
            "iat": now,
            "exp": now + 60,
            "jti": secrets.token_hex(16),
        }
        assertion = jwt.encode(claims, Path(key).read_text(), algorithm="ES256")
        return {"client_id": client, "client_assertion_type": ASSERTION, "client_assertion": assertion}

    def machine(self, client, key):
        return self._token({"grant_type": "client_credentials"} | self._as(client, key))

    def exchange(self, key, token, audience):
        return self._token(
            {"grant_type": EXCHANGE, "subject_token": token, "audience": audience, "scope": audience,
             "subject_token_type": "urn:ietf:params:oauth:token-type:access_token"} | self._as("fedproc-api", key)
        )  # fmt: skip

    def active(self, key, token):
        form = {"token": token} | self._as("fedproc-api", key)
        return self.http.post(f"{self.openid}/token/introspect", data=form).json().get("active")


def claims(token):
    if token.startswith("refused"):
        return {"refused": token}
    return jwt.decode(token, options={"verify_signature": False})


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--issuer", required=True)
    parser.add_argument("--ca", required=True)
    parser.add_argument("--key", help="of the API, or of the machine that asks")
    parser.add_argument("act", choices=["sign-in", "machine", "exchange", "active"])
    parser.add_argument("arguments", nargs="*")
    given = parser.parse_args()
    realm = Realm(given.issuer, given.ca)
    if given.act == "active":
        result = {"active": realm.active(given.key, *given.arguments)}
    else:
        if given.act == "sign-in":
            token = realm.sign_in(*given.arguments)
        elif given.act == "machine":
            token = realm.machine(given.arguments[0], given.key)
        else:
            token = realm.exchange(given.key, *given.arguments)
        result = {"token": token, "claims": claims(token)}
    print(json.dumps(result))


main()

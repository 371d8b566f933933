"""The issuer as an application, built on Authlib: ``python -m fedproc.demo.issuer --config FILE``.

Grants: password, refresh_token, authorisation code with PKCE (RFC 7636), device code (RFC 8628), client credentials
with ``private_key_jwt`` (RFC 7523), and token exchange (RFC 8693) for the clients that may.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import waitress
from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2.rfc6749 import OAuth2Error
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oauth2.rfc8628 import DeviceAuthorizationEndpoint
from flask import Flask, Response, jsonify, redirect, render_template_string, request
from werkzeug.wrappers import Response as AnyResponse

from fedproc.common.errors import InvalidInputError
from fedproc.demo.issuer.grants import (
    client_assertion_method,
    code_grant,
    device_endpoint,
    exchange_grant,
    grant_types,
    token_generator,
)
from fedproc.demo.issuer.model import CODE_GRANT, DEVICE_GRANT, EXCHANGE_GRANT, Issuer, IssuerSettings


def create_app(settings: IssuerSettings) -> Flask:
    """The WSGI application."""
    issuer = Issuer(settings)
    app = Flask("fedproc-demo-issuer")
    server = AuthorizationServer(app, query_client=issuer.client, save_token=lambda _token, _request: None)
    server.register_token_generator("default", token_generator(issuer))
    server.register_client_auth_method("private_key_jwt", client_assertion_method(issuer))
    for grant in (*grant_types(issuer), exchange_grant(issuer)):
        server.register_grant(grant)
    server.register_grant(code_grant(issuer), [CodeChallenge(required=True)])
    server.register_endpoint(device_endpoint(issuer))
    _routes(app, issuer, server)
    _browser_routes(app, issuer, server)
    return app


_COOKIE = "fedproc_issuer_session"
"""browsers send it to every port of the machine, so it has a name of its own"""

_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Sign in to fedproc</title>
<style>body{font:1rem/1.5 system-ui,sans-serif;max-width:26rem;margin:4rem auto;padding:0 1rem;color:#1a1a1a}
label{display:block;margin:.8rem 0 .2rem}input{font:inherit;width:100%;box-sizing:border-box;padding:.4rem}
button{font:inherit;margin-top:1.2rem;padding:.5rem 1.2rem}p[role=alert]{
 border-left:4px solid #a40000;padding-left:.7rem}
</style><h1>Sign in to fedproc</h1>
{% if error %}<p role="alert">{{ error }}</p>{% endif %}
{% if not done %}<form method="post">{% if code is not none %}<label for="c">Code that your terminal shows</label>
<input id="c" name="user_code" value="{{ code }}" required autocomplete="off">{% endif %}
<label for="u">User name</label>
<input id="u" name="username" required autocomplete="username"><label for="p">Password</label>
<input id="p" name="password" type="password" required autocomplete="current-password">
<button>Sign in</button></form>{% else %}<p>
{% if code is none %}Go back to the dashboard.{% else %}You are signed in. Go back to your terminal.{% endif %}</p>
{% endif %}</html>"""


def _routes(app: Flask, issuer: Issuer, server: AuthorizationServer) -> None:
    url = issuer.settings.url

    @app.get("/.well-known/openid-configuration")
    def discovery() -> Response:
        return jsonify(
            issuer=url,
            jwks_uri=f"{url}/jwks",
            authorization_endpoint=f"{url}/authorize",
            end_session_endpoint=f"{url}/end-session",
            token_endpoint=f"{url}/token",
            device_authorization_endpoint=f"{url}/device_authorization",
            grant_types_supported=[
                CODE_GRANT,
                "password",
                "refresh_token",
                "client_credentials",
                DEVICE_GRANT,
                EXCHANGE_GRANT,
            ],
            token_endpoint_auth_methods_supported=["private_key_jwt", "none"],
            id_token_signing_alg_values_supported=["RS256"],
            response_types_supported=["code"],
            code_challenge_methods_supported=["S256"],
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
            return render_template_string(_PAGE, code=code, error="", done=False)
        error = _approve(
            issuer, code.strip().upper(), request.form.get("username", ""), request.form.get("password", "")
        )
        return render_template_string(_PAGE, code=code, error=error, done=not error)


def _browser_routes(app: Flask, issuer: Issuer, server: AuthorizationServer) -> None:
    @app.route("/authorize", methods=["GET", "POST"])
    def authorize() -> AnyResponse | str | tuple[str, int]:
        try:
            grant = server.get_consent_grant()
        except OAuth2Error as error:
            wrong = f"The dashboard asks wrongly: {error.description or error.error}."
            return render_template_string(_PAGE, code=None, error=wrong, done=True), 400
        if request.method == "GET":
            return render_template_string(_PAGE, code=None, error="", done=False)
        user = issuer.sign_in(request.form.get("username", ""), request.form.get("password", ""))
        if user is None:
            return render_template_string(_PAGE, code=None, error="User name or password is not right.", done=False)
        answer: Response = server.create_authorization_response(grant_user=user, grant=grant)
        answer.set_cookie(_COOKIE, user.session, httponly=True, samesite="Lax")
        return answer

    @app.get("/end-session")
    def end_session() -> AnyResponse | str:
        """Ends what this browser signed in for last; each sign-in asks for the password anyhow."""
        issuer.end(request.cookies.get(_COOKIE, ""))
        target = request.args.get("post_logout_redirect_uri", "")
        client = issuer.client(request.args.get("client_id", ""))
        origins = {uri.partition("/dashboard/")[0] for uri in client.redirect_uris} if client else set()
        return redirect(target) if target.partition("/dashboard")[0] in origins else "You are signed out."


def _approve(issuer: Issuer, code: str, name: str, password: str) -> str:
    """Let the signed-in user have the device's token; returns what is wrong, if anything is."""
    waiting = next((d for d in issuer.devices.values() if d.user_code == code and not d.is_expired()), None)
    if waiting is None:
        return "No terminal waits for this code. Codes live for ten minutes; run fedproc login again."
    user = issuer.sign_in(name, password)
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

"""``fedproc login`` and ``logout``."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from fedproc.cli.show import bold, notice, say
from fedproc.client import session
from fedproc.client.api import Client
from fedproc.common.errors import InvalidInputError
from fedproc.contract.api.base import Token


def login(
    url: Annotated[str | None, typer.Option(help="address of the central API (or FEDPROC_URL)")] = None,
    username: Annotated[str | None, typer.Option(help="asked for if not given")] = None,
    device: Annotated[bool, typer.Option("--device", help="sign in with a browser, on any machine")] = False,
    issuer: Annotated[str | None, typer.Option(help="with --device: address of the issuer (or FEDPROC_ISSUER)")] = None,
    ca: Annotated[str | None, typer.Option(help="CA certificates for the API, if not the system's")] = None,
) -> None:
    """Sign in; tokens are kept, the password is not."""
    place = session.address(url, cure="or give --url URL, as your federation's operator names it")
    authority = ca or os.environ.get("FEDPROC_CA")
    name = None if device else username or os.environ.get("FEDPROC_USERNAME") or typer.prompt("user name")
    token = _by_browser(issuer, authority) if name is None else _by_password(place, name, authority)
    session.keep(place, authority, token)
    say(f"signed in at {place}", f" as {name}" if name else "")
    if (first := session.named_in_environment()) not in {None, name}:
        notice(f"but FEDPROC_USERNAME and a password are set, and go first: commands are still those of {first};")
        notice("unset them to be the one who has just signed in")


def _by_password(url: str, name: str, ca: str | None) -> Token:
    word = session.password_for(name) or typer.prompt(f"password of {name}", hide_input=True)
    client = Client(url, username=name, password=word, ca_file=ca)
    try:
        return client.sign_in()
    finally:
        client.close()


def _by_browser(issuer: str | None, ca: str | None) -> Token:
    place = issuer or os.environ.get("FEDPROC_ISSUER")
    if not place:
        raise InvalidInputError("which issuer? give --issuer, or set FEDPROC_ISSUER")

    def notify(address: str, code: str) -> None:
        say("open ", bold(address), " in a browser, sign in, and check that it shows ", bold(code))

    return session.device_token(place, ca, notify)


def logout() -> None:
    """Forget the tokens."""
    say("signed out" if session.forget() else "you were not signed in")


def mount(app: typer.Typer) -> None:
    """Add both to the application."""
    app.command()(login)
    app.command()(logout)

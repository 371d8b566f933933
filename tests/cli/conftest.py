"""The command line with a real API behind it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from tests.support.needs import needs

if TYPE_CHECKING:
    from tests.support.central_api import Federation


class Said(NamedTuple):
    code: int
    out: str
    err: str


Call = Callable[..., Said]


@pytest.fixture(autouse=True)
def _endless_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    """pytest's workers have a width of their own, which tables keep to."""
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.fixture
def fedproc(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Call:
    """Call the program as its entry point does, as nobody who is signed in."""
    from fedproc.cli.main import main

    for name in ("URL", "CA", "USERNAME", "PASSWORD", "OPERATOR_USERNAME", "OPERATOR_PASSWORD", "PASSWORD_FILE"):
        monkeypatch.delenv(f"FEDPROC_{name}", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))

    def call(*arguments: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["fedproc", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return Said(int(ended.value.code or 0), said.out, said.err)

    return call


@pytest.fixture
@needs("server")
def federation(tmp_path: Path) -> Iterator[Federation]:
    """One API of the test's own, with four enrolled hosts and two tools."""
    from tests.support.central_api import Federation
    from tests.support.issuer import TestIssuer

    folder = tmp_path / "centre"
    folder.mkdir()
    with TestIssuer() as issuer, Federation(f"sqlite:///{folder}/central.db", folder, issuer) as running:
        running.enrol_everyone()
        yield running


@pytest.fixture
def signed_in(federation: Federation, fedproc: Call) -> Callable[..., Call]:
    """The program as a user who is signed in."""
    from fedproc.client import session
    from fedproc.contract.api.base import Token

    def as_user(sub: str = "rosa", *roles: str) -> Call:
        token = federation.issuer.token(sub, *(roles or ("researcher",)))
        session.keep(federation.url, None, Token(access_token=token, expires_in=500))
        return fedproc

    return as_user


@pytest.fixture
def rosa(signed_in: Callable[..., Call]) -> Call:
    return signed_in()

"""A tool provider's loop: what is in the folder now is what runs, also after a change was taken back."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support.central_api import TOOLS, Federation
from tests.support.issuer import TestIssuer

from fedproc.catalog.folder import load_tool
from fedproc.client.api import Client
from fedproc.common.keys import Signer
from fedproc.contract.api.base import Token
from fedproc.demo.trying import _publish

pytestmark = pytest.mark.server

Offer = Callable[[], str]


@pytest.fixture
def federation(tmp_path: Path) -> Iterator[Federation]:
    folder = tmp_path / "centre"
    folder.mkdir()
    with TestIssuer() as issuer, Federation(f"sqlite:///{folder}/central.db", folder, issuer) as running:
        yield running


@pytest.fixture
def operator(federation: Federation) -> Iterator[Client]:
    client = Client(
        federation.url, token=Token(access_token=federation.issuer.token("o", "operator", "researcher"), expires_in=500)
    )
    yield client
    client.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return shutil.copytree(TOOLS / "count", tmp_path / "count")


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def offer(federation: Federation, operator: Client, folder: Path, said: list[str]) -> Offer:
    """Publishes the folder as it is; the version that was offered."""
    signer = Signer(federation.catalogue_key)
    return lambda: _publish(operator, signer, folder, load_tool(folder), said.append).tool.version


def source(operator: Client, version: str) -> bytes:
    return operator.bundle("count", version)


def test_tool_that_did_not_change_is_offered_as_it_is(offer: Offer, operator: Client, folder: Path) -> None:
    assert [offer(), offer()] == ["1.2.0", "1.2.0"]
    (folder / "count.py").write_text("print('changed')\n")
    changed = offer()
    assert changed.startswith("1.2.1-dev.")
    assert offer() == changed
    assert operator.tool("count").version == changed


def test_change_that_was_taken_back_is_offered_as_it_was(offer: Offer, operator: Client, folder: Path) -> None:
    before = (folder / "count.py").read_bytes()
    offer()
    (folder / "count.py").write_text("print('changed')\n")
    changed = offer()
    (folder / "count.py").write_bytes(before)
    again = offer()
    assert operator.tool("count").version == again
    assert source(operator, again) == source(operator, "1.2.0") != source(operator, changed)
    assert offer() == again


def test_newer_version_in_the_catalogue_is_told(offer: Offer, operator: Client, folder: Path, said: list[str]) -> None:
    text = (folder / "tool.yaml").read_text()
    (folder / "tool.yaml").write_text(text.replace("version: 1.2.0", "version: 2.0.0", 1))
    assert offer() == "2.0.0"
    (folder / "tool.yaml").write_text(text)
    assert offer() == "1.2.0"
    assert "count 2.0.0 is newer: fedproc run count --version 1.2.0 runs this one" in said

"""The central API as a real HTTP server, on SQLite and on PostgreSQL, with a real issuer beside it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.integration.api.federation import Federation
from tests.integration.api.issuer import TestIssuer
from tests.integration.conftest_postgres import Postgres


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with Postgres.running() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def issuer() -> Iterator[TestIssuer]:
    with TestIssuer() as running:
        yield running


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def federation(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, issuer: TestIssuer
) -> Iterator[Federation]:
    """One API with four enrolled hosts and two tools; shared by the tests of a module."""
    folder = tmp_path_factory.mktemp("centre")
    with Federation(_database(request, folder), folder, issuer) as running:
        running.enrol_everyone()
        yield running


@pytest.fixture
def lone(tmp_path: Path, issuer: TestIssuer) -> Iterator[Federation]:
    """One API of the test's own on SQLite, with four enrolled hosts and two tools."""
    with Federation(f"sqlite:///{tmp_path}/central.db", tmp_path, issuer) as running:
        running.enrol_everyone()
        yield running


@pytest.fixture
def rosa(federation: Federation) -> Iterator[httpx.Client]:
    """A researcher."""
    with federation.user() as client:
        yield client


@pytest.fixture
def running(federation: Federation, rosa: httpx.Client) -> Any:
    """A job of the tool 'count' that runs on UB."""
    federation.books.dispatch()
    experiment = federation.start(rosa)["id"]
    federation.books.dispatch()
    job = federation.books.job_on(experiment, "UB")
    federation.books.report(job.id, "running")
    return federation.books.job(job.id)


def _database(request: pytest.FixtureRequest, folder: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{folder}/central.db"
    cluster: Postgres = request.getfixturevalue("postgres")
    return cluster.new_database()

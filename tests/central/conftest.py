"""The centre's database, and its API as a real HTTP server beside a real issuer; on SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.books import Books, settings_in
from tests.support.central_api import Federation
from tests.support.issuer import TestIssuer
from tests.support.needs import needs
from tests.support.postgres import DATABASES, Postgres
from tests.support.sample_tools import EVERY

from fedproc.central.db import migrate
from fedproc.central.db.engine import connect


@pytest.fixture(scope="session")
@needs("needs_postgres")
def postgres() -> Iterator[Postgres]:
    with Postgres.running() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def migrated(postgres: Postgres) -> str:
    """The name of a database with the present schema, to be copied."""
    engine = connect(postgres.new_database())
    migrate.migrate(engine)
    engine.dispose()
    return str(engine.url.database)


@pytest.fixture(params=DATABASES)
def books(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Books]:
    """Four hosts that were just heard of and every sample tool, on SQLite and on PostgreSQL."""
    if request.param == "sqlite":
        yield from opened(f"sqlite:///{tmp_path}/central.db", tmp_path)
    else:
        cluster: Postgres = request.getfixturevalue("postgres")
        yield from opened(cluster.new_database(request.getfixturevalue("migrated")), tmp_path)


@pytest.fixture
def pg_books(postgres: Postgres, migrated: str, tmp_path: Path) -> Iterator[Books]:
    """The same on PostgreSQL alone, where writers do not exclude each other by themselves."""
    yield from opened(postgres.new_database(migrated), tmp_path)


def opened(url: str, folder: Path) -> Iterator[Books]:
    settings, key = settings_in(folder, url)
    engine = connect(url)
    migrate.migrate(engine)
    ledger = Books(engine, settings, key)
    ledger.enrol_everyone()
    for tool in EVERY:
        ledger.add_tool(tool)
    yield ledger
    engine.dispose()


@pytest.fixture(scope="session")
@needs("server")
def issuer() -> Iterator[TestIssuer]:
    with TestIssuer() as running:
        yield running


@pytest.fixture(scope="module", params=DATABASES)
@needs("server")
def federation(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, issuer: TestIssuer
) -> Iterator[Federation]:
    """One API with four enrolled hosts and two tools; shared by the tests of a module."""
    folder = tmp_path_factory.mktemp("centre")
    with Federation(_database(request, folder), folder, issuer) as running:
        running.enrol_everyone()
        yield running


@pytest.fixture
@needs("server")
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

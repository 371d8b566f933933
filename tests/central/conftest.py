"""The centre's database, and its API as a real HTTP server beside a real issuer; on SQLite and PostgreSQL."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from sqlalchemy import URL, Engine
from tests.support.books import Books, settings_in
from tests.support.needs import needs
from tests.support.postgres import DATABASES, Postgres
from tests.support.sample_tools import EVERY

from fedproc.central.db import migrate
from fedproc.central.db.engine import connect

if TYPE_CHECKING:  # loading an API takes a second: only for those who start one
    from tests.support.central_api import Federation
    from tests.support.issuer import TestIssuer


@pytest.fixture(scope="session")
@needs("needs_postgres")
def postgres() -> Iterator[Postgres]:
    with Postgres.running() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def postgres_schema(postgres: Postgres) -> str:
    """The name of a database with the present schema, to be copied."""
    return str(_migrated(postgres.new_database()).database)


@pytest.fixture(scope="session")
@needs("needs_database")
def sqlite_schema(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with the present schema, to be copied."""
    return Path(str(_migrated(f"sqlite:///{tmp_path_factory.mktemp('schema')}/central.db").database))


def _migrated(database: str) -> URL:
    engine = connect(database)
    migrate.migrate(engine)
    engine.dispose()
    return engine.url


def new_database(request: pytest.FixtureRequest, kind: str, folder: Path) -> str:
    """The URL of a database of that kind with the present schema; a file is in ``folder``."""
    if kind == "sqlite":
        shutil.copy(request.getfixturevalue("sqlite_schema"), folder / "central.db")
        return f"sqlite:///{folder}/central.db"
    cluster: Postgres = request.getfixturevalue("postgres")
    return cluster.new_database(request.getfixturevalue("postgres_schema"))


@pytest.fixture(scope="session")
def sqlite_engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """One for all tests, each with a new file below it: SQLAlchemy compiles a statement once for an engine."""
    return connect(f"sqlite:///{tmp_path_factory.mktemp('central')}/central.db")


@pytest.fixture(params=DATABASES)
@needs("needs_database")
def books(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Books]:
    """Four hosts that were just heard of and every sample tool, on SQLite and on PostgreSQL."""
    if request.param == "sqlite":
        engine: Engine = request.getfixturevalue("sqlite_engine")
        folder = Path(str(engine.url.database)).parent
        for old in folder.iterdir():
            old.unlink()
        new_database(request, "sqlite", folder)
    else:
        engine = connect(new_database(request, request.param, tmp_path))
    yield from _opened(engine, tmp_path)


@pytest.fixture
@needs("needs_database")
def pg_books(postgres: Postgres, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Books]:
    """The same on PostgreSQL alone, where writers do not exclude each other by themselves."""
    yield from _opened(connect(new_database(request, "postgresql", tmp_path)), tmp_path)


def _opened(engine: Engine, folder: Path) -> Iterator[Books]:
    settings, key = settings_in(folder, engine.url.render_as_string(hide_password=False))
    ledger = Books(engine, settings, key)
    ledger.enrol_everyone()
    ledger.add_tool(*EVERY)
    yield ledger
    engine.dispose()


@pytest.fixture(scope="session")
@needs("server")
def issuer() -> Iterator[TestIssuer]:
    from tests.support.issuer import TestIssuer

    with TestIssuer() as running:
        yield running


@pytest.fixture(scope="module", params=DATABASES)
@needs("server")
def federation(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, issuer: TestIssuer
) -> Iterator[Federation]:
    """One API with four enrolled hosts and two tools; shared by the tests of a module."""
    from tests.support.central_api import Federation

    folder = tmp_path_factory.mktemp("centre")
    with Federation(new_database(request, request.param, folder), folder, issuer) as running:
        running.enrol_everyone()
        yield running


@pytest.fixture(autouse=True)
def _no_host_falls_silent(request: pytest.FixtureRequest) -> None:
    if "federation" in request.fixturenames:
        request.getfixturevalue("federation").hear_everyone_again()


@pytest.fixture
@needs("server")
def lone(request: pytest.FixtureRequest, tmp_path: Path, issuer: TestIssuer) -> Iterator[Federation]:
    """One API of the test's own on SQLite, with four enrolled hosts and two tools."""
    from tests.support.central_api import Federation

    with Federation(new_database(request, "sqlite", tmp_path), tmp_path, issuer) as running:
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

"""The centre's books on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.conftest_postgres import Postgres
from tests.unit.central.books import Books, settings_in
from tests.unit.central.sample_tools import EVERY

from fedproc.central.db import migrate
from fedproc.central.db.engine import connect


@pytest.fixture(scope="session")
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


@pytest.fixture(params=["sqlite", "postgresql"])
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

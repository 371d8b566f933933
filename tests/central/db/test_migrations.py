"""The central database's schema, brought up step by step, on both databases."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, text
from tests.support.postgres import DATABASES

from fedproc.central.db import migrate
from fedproc.central.db.engine import connect, read_transaction, write_transaction
from fedproc.central.db.schema import metadata
from fedproc.common.errors import InvalidInputError


@pytest.fixture(params=DATABASES)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """An empty database."""
    sqlite = request.param == "sqlite"
    made = connect(f"sqlite:///{tmp_path}/central.db" if sqlite else request.getfixturevalue("postgres").new_database())
    yield made
    made.dispose()


def _to(engine: Engine, revision: str, verb: Any = command.upgrade) -> None:
    with write_transaction(engine) as connection:
        config = migrate._config()
        config.attributes["connection"] = connection
        verb(config, revision)


@pytest.mark.slow
def test_the_migrations_make_what_the_programs_work_with(engine: Engine) -> None:
    migrate.migrate(engine)
    migrate.migrate(engine)
    assert migrate.revision(engine) == migrate.head()
    with read_transaction(engine) as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


@pytest.mark.slow
def test_every_step_can_be_taken_back(engine: Engine) -> None:
    migrate.migrate(engine)
    _to(engine, "base", command.downgrade)
    assert migrate.revision(engine) is None
    migrate.migrate(engine)
    assert migrate.revision(engine) == migrate.head()


@pytest.mark.slow
def test_jobs_of_gangs_are_known_as_such_after_an_update(engine: Engine) -> None:
    _to(engine, "0002")
    with write_transaction(engine) as connection:
        connection.execute(text("INSERT INTO hosts (id, site, roles, location, public_key, domain, active, enrolled)"
                                " VALUES ('UB', '', '[]', '', '{}', 'x', TRUE, 0)"))  # fmt: skip
        connection.execute(text("INSERT INTO experiments (id, owner, owner_name, tool, version, digest, request, state,"
                                " cancel_requested, created) VALUES ('e', 'o', '', 't', '1', 'd', '{}', 'queued',"
                                " FALSE, 0)"))  # fmt: skip
        for job, order in (("a", '{"gang": true}'), ("b", '{"gang": false}'), ("c", "{}")):
            connection.execute(
                text("INSERT INTO jobs (id, experiment, host, task, state, ready, \"order\", parameters, datasets,"
                     " uploads_missing, sequence, told, start_by, end_by, release_by) VALUES (:id, 'e', 'UB', 't',"
                     " 'queued', FALSE, :order, '{}', '[]', 0, 0, '[]', 0, 0, 0)"),
                {"id": job, "order": order},
            )  # fmt: skip
    migrate.migrate(engine)
    with read_transaction(engine) as connection:
        rows = connection.execute(text("SELECT id, gang FROM jobs ORDER BY id")).all()
    assert [(row.id, bool(row.gang)) for row in rows] == [("a", True), ("b", False), ("c", False)]


ENDS = {
    "GOOD": ("2027-01-01T00:00:00+00:00", 1798761600.0),
    "LATE": ("9999-12-31T23:59:59-23:59", None),
    "NAIVE": ("2027-01-01T00:00:00", None),
    "ODD": ("soon", None),
}
"""of certificates, as hosts reported them, and what is kept of them"""


@pytest.mark.slow
def test_ends_of_certificates_in_old_reports_are_kept_if_they_are_moments(engine: Engine) -> None:
    _to(engine, "0020")
    with write_transaction(engine) as connection:
        for host, (end, _) in ENDS.items():
            report = {"report": {"facts": {"credentials": {"certificate": {"not_after": end}}}}}
            connection.execute(
                text("INSERT INTO hosts (id, site, roles, location, public_key, domain, active, enrolled, report)"
                     " VALUES (:id, '', '[]', '', '{}', 'x', TRUE, 0, :report)"),
                {"id": host, "report": json.dumps(report)},
            )  # fmt: skip
    migrate.migrate(engine)
    with read_transaction(engine) as connection:
        rows = connection.execute(text("SELECT id, certificate_expires FROM hosts")).all()
    assert {row.id: row.certificate_expires for row in rows} == {host: kept for host, (_, kept) in ENDS.items()}


@pytest.mark.slow
def test_a_program_with_an_old_database_says_what_to_run(engine: Engine) -> None:
    if engine.dialect.name == "sqlite":
        migrate.ready(engine)
        assert migrate.revision(engine) == migrate.head()
    else:
        with pytest.raises(InvalidInputError, match=r"fedproc\.central\.db\.migrate"):
            migrate.ready(engine)

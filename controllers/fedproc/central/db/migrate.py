"""Brings the central database to the schema of this program: ``python -m fedproc.central.db.migrate SETTINGS``."""

from __future__ import annotations

import sys
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine

from fedproc.central.db.engine import connect, is_sqlite, read_transaction, write_transaction
from fedproc.central.settings import load
from fedproc.common.errors import FedprocError, InvalidInputError

_SCRIPTS = Path(__file__).parent / "migrations"


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS))
    return config


def head() -> str | None:
    """The revision that this program works with."""
    return ScriptDirectory.from_config(_config()).get_current_head()


def revision(engine: Engine) -> str | None:
    """The revision that the database has; None for an empty one."""
    with read_transaction(engine) as connection:
        return MigrationContext.configure(connection).get_current_revision()


def migrate(engine: Engine) -> None:
    """Bring the database to the newest revision, in one transaction; does nothing where it is there already.

    Programs that start together may all call it: the first one works, the others wait and find it done.
    """
    if revision(engine) == head():
        return
    with write_transaction(engine) as connection:
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def ready(engine: Engine) -> None:
    """At the start of a program: migrate on SQLite; elsewhere, where an operator does that, look that it was done.

    Raises :class:`InvalidInputError` with the command to run.
    """
    if is_sqlite(engine):
        migrate(engine)
    elif (present := revision(engine)) != head():
        raise InvalidInputError(
            f"the central database is at revision {present}, this program needs {head()}: "
            "run `python -m fedproc.central.db.migrate SETTINGS` as its owner",
            code="database.revision",
        )


def main() -> int:
    if len(sys.argv) != 2:
        sys.stderr.write("usage: python -m fedproc.central.db.migrate SETTINGS\n")
        return 2
    try:
        engine = connect(load(Path(sys.argv[1])).database, statement_seconds=0)
        before = revision(engine)
        migrate(engine)
    except FedprocError as error:
        sys.stderr.write(f"{error.message}\n")
        return 1
    sys.stdout.write(f"central database: {before or 'empty'} -> {revision(engine)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

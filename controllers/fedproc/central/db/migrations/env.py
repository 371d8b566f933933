"""Run by alembic: the connection comes from :func:`fedproc.central.db.migrate.migrate`, which owns the transaction."""

from alembic import context

from fedproc.central.db import schema

connection = context.config.attributes["connection"]
context.configure(
    connection=connection, target_metadata=schema.metadata, render_as_batch=connection.dialect.name == "sqlite"
)
if connection.dialect.name == "postgresql":
    connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7203391)")
context.run_migrations()

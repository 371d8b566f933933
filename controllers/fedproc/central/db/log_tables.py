"""The table of what waits for the transparency log; it belongs to :mod:`fedproc.central.db.schema`."""

from __future__ import annotations

from sqlalchemy import JSON, Column, Float, String, Table

from fedproc.central.db.metadata import BigId, metadata

log_queue = Table(
    "log_queue",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("time", Float, nullable=False),
    Column("kind", String(32), nullable=False),
    Column("data", JSON, nullable=False),
    sqlite_autoincrement=True,
)
"""What the transparency log has to hold and does not hold yet, written in the transaction that does it."""

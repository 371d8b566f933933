"""What waits for the transparency log and for the tracing service: tables of :mod:`fedproc.central.db.schema`."""

from __future__ import annotations

from sqlalchemy import JSON, Column, Float, Index, Integer, String, Table, Text

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

traces = Table(
    "traces",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("key", String(36), nullable=False, unique=True),
    Column("kind", String(16), nullable=False),
    Column("experiment", String(28), nullable=False),
    Column("owner", String(255), nullable=False),
    Column("body", JSON, nullable=False),
    Column("created", Float, nullable=False),
    Column("due", Float, nullable=False),
    Column("attempts", Integer, nullable=False, default=0),
    Column("sent", Float),
    Column("refused", Float),
    Column("reason", Text),
    Index("ix_traces_sent_refused_due", "sent", "refused", "due"),
    Index("ix_traces_owner", "owner"),
    sqlite_autoincrement=True,
)
"""What EUCAIM's tracing service is told, written in the transaction of the act. ``key``: the same at each attempt;
``due``: when it is tried next, or from when on a claim counts no more; ``refused``: the service will never take it."""

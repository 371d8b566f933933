"""Tools that were sent in; belongs to :mod:`fedproc.central.db.schema`."""

from __future__ import annotations

from sqlalchemy import JSON, Column, Float, Index, LargeBinary, String, Table, Text

from fedproc.central.db.metadata import metadata

submissions = Table(
    "submissions",
    metadata,
    Column("id", String(28), primary_key=True),
    Column("owner", String(255), nullable=False),
    Column("owner_name", Text, nullable=False, default=""),
    Column("tool", String(64), nullable=False),
    Column("version", String(64), nullable=False),
    Column("digest", String(71), nullable=False),
    Column("name", Text, nullable=False, default=""),
    Column("note", Text, nullable=False, default=""),
    Column("manifest", JSON, nullable=False),
    Column("bundle", LargeBinary, nullable=False),
    Column("findings", JSON, nullable=False),
    Column("state", String(10), nullable=False),
    Column("text", Text, nullable=False, default=""),
    Column("created", Float, nullable=False),
    Column("decided", Float),
    Index("ix_submissions_owner_state", "owner", "state"),
    Index("ix_submissions_state", "state"),
)
"""Versions of tools with the decision of who approves tools. ``bundle``: the packed source; empty of one refused."""

"""The table of the catalogue; it belongs to :mod:`fedproc.central.db.schema`."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Float, String, Table, Text

from fedproc.central.db.metadata import metadata

tools = Table(
    "tools",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("version", String(64), primary_key=True),
    Column("digest", String(71), nullable=False, unique=True),
    Column("signed", Text, nullable=False),
    Column("bundle", String(64), nullable=False),
    Column("approved", Boolean, nullable=False, default=True),
    Column("added", Float, nullable=False),
    Column("recalled", Float),
    Column("recall_reason", Text),
)
"""Signed manifests; ``bundle`` is the sha256 of the packed source in the blob store; ``recalled`` is when (seconds
since 1970)."""

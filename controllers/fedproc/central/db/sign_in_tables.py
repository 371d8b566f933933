"""Tables of the dashboard's sign-ins and of sessions held for experiments, for :mod:`fedproc.central.db.schema`."""

from __future__ import annotations

from sqlalchemy import Column, Float, Index, LargeBinary, String, Table, Text

from fedproc.central.db.metadata import metadata

sessions = Table(
    "sessions",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("subject", String(255), nullable=False),
    Column("created", Float, nullable=False),
    Column("expires", Float, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Index("ix_sessions_expires", "expires"),
    Index("ix_sessions_subject", "subject"),
)
"""Sign-ins at the dashboard. ``id`` is a hash of the browser's cookie, and ``sealed`` holds the tokens, encrypted by a
key that follows from the cookie: who reads this table can use none of them."""

delegations = Table(
    "delegations",
    metadata,
    Column("experiment", String(28), primary_key=True),
    Column("sealed", Text, nullable=False),
    Column("kept", Float, nullable=False),
)
"""The session of an open experiment's user at the issuer, by which providers of grants are asked again: a refresh
token, encrypted by a key that comes from the API's own (:mod:`fedproc.central.grants.delegations`)."""

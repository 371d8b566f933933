"""The central database: SQLite on one machine, PostgreSQL in production. One schema for both.

The database is the truth; the broker only carries. Times are stored as UTC seconds since 1970 (float), so that
both databases compare and sort them the same way. JSON columns hold what is never searched.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from fedproc.central.db.dataset_tables import dataset_columns, dataset_terms, datasets
from fedproc.central.db.log_tables import log_queue, traces
from fedproc.central.db.metadata import BigId, metadata
from fedproc.central.db.sign_in_tables import sessions
from fedproc.central.db.submission_tables import submissions
from fedproc.central.db.tool_tables import tools

__all__ = [
    "audit", "dataset_columns", "dataset_terms", "datasets", "dead_letters", "deletions", "discards", "enrolments",
    "events", "experiments", "files", "hosts", "jobs", "kept", "log_queue", "metadata", "outbox", "records", "relays",
    "sessions", "shared", "submissions", "tools", "traces",
]  # fmt: skip

hosts = Table(
    "hosts",
    metadata,
    Column("id", String(31), primary_key=True),
    Column("site", Text, nullable=False, default=""),
    Column("roles", JSON, nullable=False),
    Column("location", Text, nullable=False, default=""),
    Column("public_key", JSON, nullable=False),
    Column("address", Text),
    Column("domain", Text, nullable=False, default="fedproc.internal"),
    Column("active", Boolean, nullable=False, default=True),
    Column("accepted", Boolean, nullable=False, default=True),
    Column("acceptance", String(28)),
    Column("enrolled", Float, nullable=False),
    Column("epoch", String(64)),
    Column("epochs", JSON),
    Column("heartbeat", JSON),
    Column("heard", Float),
    Column("report", JSON),
    Column("log", JSON),
    Column("offered", String(64)),
    Column("condition", String(16)),
    Column("condition_text", Text),
    Column("certificate_expires", Float),
    Column("drained", Text),
)
"""A host as enrolled, its last heartbeat (``heard``: when the host was last alive) and its last :class:`HostReport`.
``epochs``: when the present ``epoch`` was first seen, and those before it. ``log``: its transparency log as witnessed.
``acceptance`` is its newest acceptance experiment; a host that is not ``accepted`` becomes so when that succeeds.
``offered``: sha256 of its rows in ``datasets``. ``condition`` and ``condition_text``: of its last heartbeat.
``drained``: why the operator lets no new job go there; None: they go."""

enrolments = Table(
    "enrolments",
    metadata,
    Column("host", String(31), primary_key=True),
    Column("code_sha256", String(64), nullable=False),
    Column("created", Float, nullable=False),
    Column("expires", Float, nullable=False),
    Column("wrong", Integer, nullable=False, default=0),
    Column("state", String(10), nullable=False),
    Column("request", Text),
    Column("public_key", Text),
    Column("fingerprint", String(79)),
    Column("requested", Float),
    Column("certificate", Text),
    Column("reason", Text),
    Column("decided", Float),
)
"""The last enrolment of each host. ``wrong``: how often a code was tried that was not this one. The first request
that the code admits binds it to its key."""

experiments = Table(
    "experiments",
    metadata,
    Column("id", String(28), primary_key=True),
    Column("owner", String(255), nullable=False),
    Column("owner_name", Text, nullable=False, default=""),
    Column("tool", String(64), nullable=False),
    Column("version", String(64), nullable=False),
    Column("digest", String(71), nullable=False),
    Column("label", Text),
    Column("request", JSON, nullable=False),
    Column("state", String(16), nullable=False),
    Column("cancel_requested", Boolean, nullable=False, default=False),
    Column("created", Float, nullable=False),
    Column("ended", Float),
    Column("idempotency_key", String(255)),
    Column("fingerprint", String(64)),
    Column("prepare", String(8)),
    Column("ended_because", Text),
    UniqueConstraint("owner", "idempotency_key"),
    Index("ix_experiments_owner_id", "owner", "id"),
    Index("ix_experiments_owner_state", "owner", "state"),
    Index("ix_experiments_state", "state"),
    Index("ix_experiments_label", "label"),
)
"""``request``: as accepted, with hosts and defaults filled in; ``fingerprint``: sha256 of what was sent under
``idempotency_key``; ``prepare``: of one to be prepared ahead, ``held`` or ``started``; ``ended_because``: its tool
was recalled, and why."""

jobs = Table(
    "jobs",
    metadata,
    Column("id", String(28), primary_key=True),
    Column("experiment", ForeignKey("experiments.id"), nullable=False),
    Column("host", ForeignKey("hosts.id"), nullable=False),
    Column("task", String(48), nullable=False),
    Column("state", String(20), nullable=False),
    Column("gang", Boolean, nullable=False, default=False),
    Column("code", Text),
    Column("reason", Text),
    Column("ready", Boolean, nullable=False, default=False),
    Column("order", JSON, nullable=False),
    Column("shared", JSON),
    Column("datasets", JSON, nullable=False, default=list),
    Column("uploads_missing", Integer, nullable=False, default=0),
    Column("epoch", String(64)),
    Column("sequence", Integer, nullable=False, default=0),
    Column("snapshot", JSON),
    Column("told", JSON, nullable=False, default=list),
    Column("start_by", Float, nullable=False),
    Column("end_by", Float, nullable=False),
    Column("release_by", Float, nullable=False),
    Column("dispatched", Float),
    Column("ended", Float),
    Column("late", JSON),
    Column("missing_since", Float),
    CheckConstraint("sequence >= 0", name="sequence"),
    Index("ix_jobs_experiment", "experiment"),
    Index("ix_jobs_host_state", "host", "state"),
    Index("ix_jobs_state", "state"),
    Index("ix_jobs_gang_state", "gang", "state"),
)
"""``gang``: it starts together with others. ``order``: what the JobOrder is built from, but for what it has in common
with others, which is kept in :data:`shared` under the ids in ``shared``. ``snapshot``: the host's last.
``told``: what was written for it already (``job``, ``start``, …), and ``ahead``. ``late``: what came after the terminal
state. ``missing_since``: when its host first did not name it among its open jobs, if it has not been heard of since."""

outbox = Table(
    "outbox",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("job", String(28), nullable=False),
    Column("host", String(31), nullable=False),
    Column("kind", String(10), nullable=False),
    Column("message", JSON, nullable=False),
    Column("shared", JSON),
    Column("created", Float, nullable=False),
    Column("claimed", Float),
    Column("claimed_by", String(64)),
    Column("sent", Float),
    Column("sha256", String(64)),
    Index("ix_outbox_sent_id", "sent", "id"),
    Index("ix_outbox_job", "job"),
    sqlite_autoincrement=True,
)
"""Messages to hosts, written in the transaction that makes them true; ``kind`` is a message type. ``message`` is what
is the message's own, ``shared`` the ids of the parts in :data:`shared` that make it whole. The relay claims a row
(that is ``dispatched``), signs and publishes it, then marks it sent with the sha256 of the bytes."""

shared = Table(
    "shared",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("experiment", String(28), nullable=False),
    Column("size", Integer, nullable=False),
    Column("value", JSON, nullable=False),
    Index("ix_shared_experiment", "experiment"),
)
"""Fields of messages that many of an experiment have in common (:mod:`fedproc.central.db.repositories.shared`): an
experiment on a thousand hosts keeps its parameters once. ``size``: bytes of ``value`` as JSON."""

events = Table(
    "events",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("experiment", String(28), nullable=False),
    Column("job", String(28)),
    Column("host", String(31)),
    Column("task", String(48)),
    Column("time", Float, nullable=False),
    Column("kind", String(10), nullable=False),
    Column("data", JSON, nullable=False),
    Index("ix_events_experiment_id", "experiment", "id"),
    sqlite_autoincrement=True,
)
"""What the event stream shows, append-only; ``kind`` is state, progress, metrics or log."""

records = Table(
    "records",
    metadata,
    Column("job", String(28), primary_key=True),
    Column("epoch", String(64), primary_key=True),
    Column("stream", String(8), primary_key=True),
    Column("sequence", Integer, primary_key=True),
    Column("event", BigId, nullable=False),
    Column("size", Integer),
)
"""Which records of metrics and log lines were taken in, so that a redelivery adds nothing; ``size`` in bytes, of those
that an earlier release took in unknown."""

files = Table(
    "files",
    metadata,
    Column("id", String(28), primary_key=True),
    Column("owner", String(255), nullable=False),
    Column("path", Text, nullable=False),
    Column("state", String(8), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("plain_sha256", String(64)),
    Column("media_type", Text, nullable=False),
    Column("experiment", String(28)),
    Column("job", String(28)),
    Column("host", String(31)),
    Column("task", String(48)),
    Column("output", String(48)),
    Column("input", String(48)),
    Column("recipient", String(31)),
    Column("disclosure", String(16)),
    Column("created", Float, nullable=False),
    Index("ix_files_owner", "owner", "id"),
    Index("ix_files_owner_state_size", "owner", "state", "size"),
    Index(
        "uq_files_owner_path",
        "owner",
        "path",
        unique=True,
        sqlite_where=text("job IS NULL"),
        postgresql_where=text("job IS NULL"),
    ),
    Index("ix_files_experiment", "experiment"),
    Index("ix_files_job", "job"),
    Index("ix_files_pending", "id", sqlite_where=text("state = 'pending'"), postgresql_where=text("state = 'pending'")),
)
"""File entries. ``job`` with ``output`` is a job's result, ``job`` with ``input`` an upload for a job."""

audit = Table(
    "audit",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("time", Float, nullable=False),
    Column("actor", String(255), nullable=False),
    Column("method", String(8), nullable=False),
    Column("path", Text, nullable=False),
    Column("action", String(64), nullable=False),
    Column("target", Text),
    Column("outcome", Integer, nullable=False),
    Column("detail", Text),
    Column("seal", String(32)),
    Column("logged", Boolean),
    Index("ix_audit_unlogged", "id", sqlite_where=text("logged = 0"), postgresql_where=text("logged = false")),
    Index("ix_audit_time", "time"),
    Index("ix_audit_actor_id", "actor", "id"),
    Index("ix_audit_target", "target"),
    sqlite_autoincrement=True,
)
"""Every act through the API. ``seal``: random, by which the transparency log commits to it; ``logged``: if it has."""

dead_letters = Table(
    "dead_letters",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("time", Float, nullable=False),
    Column("host", String(31)),
    Column("queue", Text, nullable=False),
    Column("job", String(28)),
    Column("code", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("body", LargeBinary, nullable=False),
    Index("ix_dead_letters_sha256", "sha256"),
    Index("ix_dead_letters_host_id", "host", "id"),
    sqlite_autoincrement=True,
)
"""What a host could not read, with its reason."""

relays = Table(
    "relays",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("seen", Float, nullable=False),
    Column("broker", Text, nullable=False, default=""),
)
"""Living relays: when each was last seen, and how it stands with the broker."""

deletions = Table(
    "deletions",
    metadata,
    Column("experiment", String(28), primary_key=True),
    Column("jobs", JSON, nullable=False),
    Column("begun", Float, nullable=False),
)
"""Experiments that are deleted, while rows that belonged to them are left; ``jobs``: the ids of theirs."""

discards = Table(
    "discards",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("due", Float, nullable=False),
    Index("ix_discards_due", "due"),
)
"""Bytes in the file store that no entry names any more, and from when on they are removed."""

kept = Table(
    "kept",
    metadata,
    Column("kind", String(20), primary_key=True),
    Column("rows", BigInteger, nullable=False),
    Column("bytes", BigInteger),
    Column("removed", BigInteger, nullable=False, default=0),
    Column("time", Float, nullable=False),
)
"""How much there was of each kind when retention was last applied, and how many rows it has removed so far."""

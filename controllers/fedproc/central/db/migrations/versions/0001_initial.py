"""The first schema: made from :mod:`fedproc.central.db.schema`."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _audit() -> None:
    op.create_table(
        "audit",
        sa.Column("id", BIG_ID, autoincrement=True, nullable=False),
        sa.Column("time", sa.Float(), nullable=False),
        sa.Column("actor", sa.String(length=255), nullable=False),
        sa.Column("method", sa.String(length=8), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("action", sa.String(length=64), nullable=False),
        sa.Column("target", sa.Text(), nullable=True),
        sa.Column("outcome", sa.Integer(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_audit_time", "audit", ["time"])


def _dead_letters() -> None:
    op.create_table(
        "dead_letters",
        sa.Column("id", BIG_ID, autoincrement=True, nullable=False),
        sa.Column("time", sa.Float(), nullable=False),
        sa.Column("host", sa.String(length=31), nullable=True),
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("job", sa.String(length=28), nullable=True),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dead_letters")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_dead_letters_sha256", "dead_letters", ["sha256"])


def _events() -> None:
    op.create_table(
        "events",
        sa.Column("id", BIG_ID, autoincrement=True, nullable=False),
        sa.Column("experiment", sa.String(length=28), nullable=False),
        sa.Column("job", sa.String(length=28), nullable=True),
        sa.Column("host", sa.String(length=31), nullable=True),
        sa.Column("task", sa.String(length=48), nullable=True),
        sa.Column("time", sa.Float(), nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_events")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_events_experiment_id", "events", ["experiment", "id"])


def _experiments() -> None:
    op.create_table(
        "experiments",
        sa.Column("id", sa.String(length=28), nullable=False),
        sa.Column("owner", sa.String(length=255), nullable=False),
        sa.Column("owner_name", sa.Text(), nullable=False),
        sa.Column("tool", sa.String(length=64), nullable=False),
        sa.Column("version", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.String(length=71), nullable=False),
        sa.Column("label", sa.Text(), nullable=True),
        sa.Column("request", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("cancel_requested", sa.Boolean(), nullable=False),
        sa.Column("created", sa.Float(), nullable=False),
        sa.Column("ended", sa.Float(), nullable=True),
        sa.Column("idempotency_key", sa.String(length=255), nullable=True),
        sa.Column("fingerprint", sa.String(length=64), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_experiments")),
        sa.UniqueConstraint("owner", "idempotency_key", name=op.f("uq_experiments_owner_idempotency_key")),
    )
    op.create_index("ix_experiments_label", "experiments", ["label"])
    op.create_index("ix_experiments_owner_id", "experiments", ["owner", "id"])
    op.create_index("ix_experiments_state", "experiments", ["state"])


def _files() -> None:
    op.create_table(
        "files",
        sa.Column("id", sa.String(length=28), nullable=False),
        sa.Column("owner", sa.String(length=255), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("experiment", sa.String(length=28), nullable=True),
        sa.Column("job", sa.String(length=28), nullable=True),
        sa.Column("host", sa.String(length=31), nullable=True),
        sa.Column("task", sa.String(length=48), nullable=True),
        sa.Column("output", sa.String(length=48), nullable=True),
        sa.Column("input", sa.String(length=48), nullable=True),
        sa.Column("recipient", sa.String(length=31), nullable=True),
        sa.Column("disclosure", sa.String(length=16), nullable=True),
        sa.Column("created", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_files")),
    )
    op.create_index("ix_files_experiment", "files", ["experiment"])
    op.create_index("ix_files_job", "files", ["job"])
    op.create_index("ix_files_owner", "files", ["owner", "id"])
    op.create_index(
        "uq_files_owner_path",
        "files",
        ["owner", "path"],
        unique=True,
        sqlite_where=sa.text("job IS NULL"),
        postgresql_where=sa.text("job IS NULL"),
    )


def _hosts() -> None:
    op.create_table(
        "hosts",
        sa.Column("id", sa.String(length=31), nullable=False),
        sa.Column("site", sa.Text(), nullable=False),
        sa.Column("roles", sa.JSON(), nullable=False),
        sa.Column("location", sa.Text(), nullable=False),
        sa.Column("public_key", sa.JSON(), nullable=False),
        sa.Column("address", sa.Text(), nullable=True),
        sa.Column("domain", sa.Text(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("enrolled", sa.Float(), nullable=False),
        sa.Column("epoch", sa.String(length=64), nullable=True),
        sa.Column("heartbeat", sa.JSON(), nullable=True),
        sa.Column("heard", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_hosts")),
    )


def _outbox() -> None:
    op.create_table(
        "outbox",
        sa.Column("id", BIG_ID, autoincrement=True, nullable=False),
        sa.Column("job", sa.String(length=28), nullable=False),
        sa.Column("host", sa.String(length=31), nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("message", sa.JSON(), nullable=False),
        sa.Column("created", sa.Float(), nullable=False),
        sa.Column("claimed", sa.Float(), nullable=True),
        sa.Column("claimed_by", sa.String(length=64), nullable=True),
        sa.Column("sent", sa.Float(), nullable=True),
        sa.Column("sha256", sa.String(length=64), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_outbox_job", "outbox", ["job"])
    op.create_index("ix_outbox_sent_id", "outbox", ["sent", "id"])


def _records() -> None:
    op.create_table(
        "records",
        sa.Column("job", sa.String(length=28), nullable=False),
        sa.Column("epoch", sa.String(length=64), nullable=False),
        sa.Column("stream", sa.String(length=8), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("event", BIG_ID, nullable=False),
        sa.PrimaryKeyConstraint("job", "epoch", "stream", "sequence", name=op.f("pk_records")),
    )


def _relays() -> None:
    op.create_table(
        "relays",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("seen", sa.Float(), nullable=False),
        sa.Column("broker", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_relays")),
    )


def _tools() -> None:
    op.create_table(
        "tools",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("version", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.String(length=71), nullable=False),
        sa.Column("signed", sa.Text(), nullable=False),
        sa.Column("bundle", sa.String(length=64), nullable=False),
        sa.Column("approved", sa.Boolean(), nullable=False),
        sa.Column("added", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", "version", name=op.f("pk_tools")),
        sa.UniqueConstraint("digest", name=op.f("uq_tools_digest")),
    )


def _jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(length=28), nullable=False),
        sa.Column("experiment", sa.String(length=28), nullable=False),
        sa.Column("host", sa.String(length=31), nullable=False),
        sa.Column("task", sa.String(length=48), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("code", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("ready", sa.Boolean(), nullable=False),
        sa.Column("order", sa.JSON(), nullable=False),
        sa.Column("parameters", sa.JSON(), nullable=False),
        sa.Column("datasets", sa.JSON(), nullable=False),
        sa.Column("uploads_missing", sa.Integer(), nullable=False),
        sa.Column("epoch", sa.String(length=64), nullable=True),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("snapshot", sa.JSON(), nullable=True),
        sa.Column("told", sa.JSON(), nullable=False),
        sa.Column("start_by", sa.Float(), nullable=False),
        sa.Column("end_by", sa.Float(), nullable=False),
        sa.Column("release_by", sa.Float(), nullable=False),
        sa.Column("dispatched", sa.Float(), nullable=True),
        sa.Column("ended", sa.Float(), nullable=True),
        sa.Column("late", sa.JSON(), nullable=True),
        sa.CheckConstraint("sequence >= 0", name=op.f("ck_jobs_sequence")),
        sa.ForeignKeyConstraint(["experiment"], ["experiments.id"], name=op.f("fk_jobs_experiment")),
        sa.ForeignKeyConstraint(["host"], ["hosts.id"], name=op.f("fk_jobs_host")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
    )
    op.create_index("ix_jobs_experiment", "jobs", ["experiment"])
    op.create_index("ix_jobs_host_state", "jobs", ["host", "state"])
    op.create_index("ix_jobs_state", "jobs", ["state"])


def upgrade() -> None:
    _audit()
    _dead_letters()
    _events()
    _experiments()
    _files()
    _hosts()
    _outbox()
    _records()
    _relays()
    _tools()
    _jobs()


def downgrade() -> None:
    for table in (
        "jobs",
        "tools",
        "relays",
        "records",
        "outbox",
        "hosts",
        "files",
        "experiments",
        "events",
        "dead_letters",
        "audit",
    ):
        op.drop_table(table)

"""What EUCAIM's tracing service is told."""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"

_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "traces",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("key", sa.String(36), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("experiment", sa.String(28), nullable=False),
        sa.Column("owner", sa.String(255), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.Column("created", sa.Float(), nullable=False),
        sa.Column("due", sa.Float(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("sent", sa.Float()),
        sa.Column("refused", sa.Float()),
        sa.Column("reason", sa.Text()),
        sa.PrimaryKeyConstraint("id", name="pk_traces"),
        sa.UniqueConstraint("key", name="uq_traces_key"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_traces_sent_refused_due", "traces", ["sent", "refused", "due"])
    op.create_index("ix_traces_owner", "traces", ["owner"])


def downgrade() -> None:
    op.drop_table("traces")

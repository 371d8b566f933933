"""Retention: what is being deleted, bytes that no entry names, and figures of what is kept."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.create_table(
        "deletions",
        sa.Column("experiment", sa.String(28), nullable=False),
        sa.Column("jobs", sa.JSON(), nullable=False),
        sa.Column("begun", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("experiment", name="pk_deletions"),
    )
    op.create_table(
        "discards",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("due", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_discards"),
    )
    op.create_index("ix_discards_due", "discards", ["due"])
    op.create_table(
        "kept",
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger()),
        sa.Column("removed", sa.BigInteger(), nullable=False),
        sa.Column("time", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("kind", name="pk_kept"),
    )
    pending = sa.text("state = 'pending'")
    op.create_index("ix_files_pending", "files", ["id"], sqlite_where=pending, postgresql_where=pending)


def downgrade() -> None:
    op.drop_index("ix_files_pending", "files")
    op.drop_table("kept")
    op.drop_table("discards")
    op.drop_table("deletions")

"""The transparency log: what it does not have yet, how it commits to the audit, and what the centre witnesses."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"

_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "log_queue",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("time", sa.Float(), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_log_queue"),
        sqlite_autoincrement=True,
    )
    op.add_column("audit", sa.Column("seal", sa.String(32)))
    op.add_column("audit", sa.Column("logged", sa.Boolean()))
    op.create_index(
        "ix_audit_unlogged", "audit", ["id"],
        sqlite_where=sa.text("logged = 0"), postgresql_where=sa.text("logged = false"),
    )  # fmt: skip
    op.add_column("hosts", sa.Column("log", sa.JSON()))


def downgrade() -> None:
    op.drop_column("hosts", "log")
    op.drop_index("ix_audit_unlogged", "audit")
    op.drop_column("audit", "logged")
    op.drop_column("audit", "seal")
    op.drop_table("log_queue")

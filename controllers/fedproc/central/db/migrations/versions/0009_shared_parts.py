"""What the messages of one experiment have in common is kept once; rows of before hold their whole message."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.create_table(
        "shared",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("experiment", sa.String(28), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("value", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_shared"),
    )
    op.create_index("ix_shared_experiment", "shared", ["experiment"])
    op.add_column("jobs", sa.Column("shared", sa.JSON(), nullable=True))
    op.add_column("outbox", sa.Column("shared", sa.JSON(), nullable=True))


def downgrade() -> None:
    op.drop_column("outbox", "shared")
    op.drop_column("jobs", "shared")
    op.drop_index("ix_shared_experiment", "shared")
    op.drop_table("shared")

"""Users' sessions at the issuer, as long as their experiments are open."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    op.create_table(
        "delegations",
        sa.Column("experiment", sa.String(28), nullable=False),
        sa.Column("sealed", sa.Text(), nullable=False),
        sa.Column("kept", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("experiment", name="pk_delegations"),
    )


def downgrade() -> None:
    op.drop_table("delegations")

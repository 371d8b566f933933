"""Versions of tools that were recalled, and why an experiment was ended where its user did not ask for it."""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"


def upgrade() -> None:
    op.add_column("tools", sa.Column("recalled", sa.Float()))
    op.add_column("tools", sa.Column("recall_reason", sa.Text()))
    op.add_column("experiments", sa.Column("ended_because", sa.Text()))


def downgrade() -> None:
    op.drop_column("experiments", "ended_because")
    op.drop_column("tools", "recall_reason")
    op.drop_column("tools", "recalled")

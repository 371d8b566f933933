"""Experiments that are prepared ahead, and started later."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    op.add_column("experiments", sa.Column("prepare", sa.String(8)))


def downgrade() -> None:
    op.drop_column("experiments", "prepare")

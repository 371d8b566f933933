"""Since when a job's host was asked for it and did not have it."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("missing_since", sa.Float(), nullable=True))


def downgrade() -> None:
    op.drop_column("jobs", "missing_since")

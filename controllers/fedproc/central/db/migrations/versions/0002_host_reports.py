"""The centre keeps the last whole check of every host."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("hosts", sa.Column("report", sa.JSON(), nullable=True))


def downgrade() -> None:
    op.drop_column("hosts", "report")

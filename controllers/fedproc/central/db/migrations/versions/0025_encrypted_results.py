"""Results that are encrypted to their user: what they were before that."""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"


def upgrade() -> None:
    op.add_column("files", sa.Column("plain_sha256", sa.String(64)))


def downgrade() -> None:
    op.drop_column("files", "plain_sha256")

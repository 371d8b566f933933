"""How many bytes each record has, so that those of one stream together are bounded."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.add_column("records", sa.Column("size", sa.Integer(), nullable=True))


def downgrade() -> None:
    op.drop_column("records", "size")

"""The epochs of each host are known in their order."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column("hosts", sa.Column("epochs", sa.JSON(), nullable=True))


def downgrade() -> None:
    op.drop_column("hosts", "epochs")

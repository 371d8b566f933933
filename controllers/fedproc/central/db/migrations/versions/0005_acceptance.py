"""A host is accepted once its acceptance experiment has succeeded; those enrolled before count as accepted."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("hosts", sa.Column("accepted", sa.Boolean(), nullable=False, server_default=sa.true()))
    op.add_column("hosts", sa.Column("acceptance", sa.String(28)))


def downgrade() -> None:
    op.drop_column("hosts", "acceptance")
    op.drop_column("hosts", "accepted")

"""Hosts that the federation's operator drains, and why."""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"


def upgrade() -> None:
    op.add_column("hosts", sa.Column("drained", sa.Text()))


def downgrade() -> None:
    op.drop_column("hosts", "drained")
